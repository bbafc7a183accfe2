"""Docker's and runc's command-line grammar, from tables: what a command accepts, and the parser for it.

One table makes the parser, the help and the completion. Long flags are `--flag VALUE` or `--flag=VALUE`, short ones
may stand together (`-it`) and have their value attached (`-p8080:80`); `--` ends the flags. Nothing is ignored: a flag
that Docker has and a Wasm container cannot have is in the table with the reason, and is refused with it.
"""

from __future__ import annotations

from sampan.core.errors import Invalid, Unimplemented
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class UsageError(Invalid):
    """Raised when a command line does not fit the command's table; the help of `command` says what does."""

    def __init__(self, message: str, *, fix: str = "", command: str = "") -> None:
        super().__init__(message, fix=fix)
        self.command = command


class Option(Record):
    """One flag of a command.

    Attributes:
        name: the long name, without dashes. short: one letter, or "".
        value: what the help calls its value; "" for a flag that is on or off.
        repeats: whether it may be given several times, each adding a value.
        complete: what completes its value: container, image, file, or words with `|` between them.
        refusal: why a Wasm container cannot have it; giving it is an error with this reason.
        no_effect: why it changes nothing here; giving it is reported, and the command goes on.
        own: not one of Docker's. same_as: the name of the flag that this one is another spelling of.
    """

    name: str
    help: str = ""
    short: str = ""
    value: str = ""
    default: str = ""
    repeats: bool = False
    complete: str = ""
    refusal: str = ""
    no_effect: str = ""
    own: bool = False
    same_as: str = ""

    @property
    def takes_value(self) -> bool:
        return bool(self.value)


def switch(name: str, help: str, short: str = "", *, own: bool = False, no_effect: str = "") -> Option:  # noqa: A002
    """A flag that is on or off."""
    return Option(name, help, short, own=own, no_effect=no_effect)


def setting(
    name: str,
    value: str,
    help: str,  # noqa: A002 - the word of every such table
    short: str = "",
    *,
    default: str = "",
    complete: str = "",
    own: bool = False,
) -> Option:
    """A flag with a value; given twice, the last one counts."""
    return Option(name, help, short, value, default, complete=complete, own=own)


def collected(
    name: str,
    value: str,
    help: str,  # noqa: A002
    short: str = "",
    *,
    complete: str = "",
    own: bool = False,
) -> Option:
    """A flag with a value that may be given many times."""
    return Option(name, help, short, value, repeats=True, complete=complete, own=own)


HELP = switch("help", "Print this help and exit")


class Arguments:
    """What a command line said, by the names of the table; asking for a name that is not in it is a `KeyError`."""

    def __init__(self, options: Iterable[Option]) -> None:
        self.operands: list[str] = []
        self._options = {option.name: option for option in options}
        self._given: dict[str, list[str]] = {}

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return self._options[name].name in self._given

    def on(self, name: str) -> bool:
        """Whether a switch is on; the last one counts."""
        option = self._options[name]
        return self._given.get(name, [option.default])[-1] in TRUE

    def value(self, name: str) -> str:
        """A setting's value, or its default."""
        option = self._options[name]
        return self._given.get(name, [option.default])[-1]

    def values(self, name: str) -> list[str]:
        """All values of a repeated flag, in order."""
        return list(self._given.get(self._options[name].name, []))

    def notes(self) -> list[str]:
        """A sentence for each flag that was given and has no effect."""
        known = (self._options[name] for name in self._given)
        return [f"--{option.name} has no effect: {option.no_effect}" for option in known if option.no_effect]

    def put(self, option: Option, text: str) -> None:
        """Takes note of one flag as given."""
        if not option.takes_value and text not in TRUE | FALSE:
            raise UsageError(f"--{option.name} is on or off: {text[:40]!r} is neither true nor false")
        self._given.setdefault(option.same_as or option.name, []).append(text)


class Command(Record):
    """One command, as `commands/NAME.py` declares it.

    Attributes:
        name: as it is typed after the `program`: "run", "image convert".
        usage: what follows the name. summary: one line, the same as in `listing`.
        examples: lines for the end of the help; each is a command, with `# remark` where useful.
        operands: what completes operands: container, image, file, two of them with `or` between, or words with `|`.
        least, most: how many operands there may be; `most` None for any number.
        interspersed: whether flags may follow operands; without, the first operand ends them.
    """

    name: str
    usage: str
    summary: str
    run: Callable[[Any, Arguments], int]  # with the door's own context
    options: list[Option] = []
    examples: list[str] = []
    operands: str = ""
    least: int = 0
    most: int | None = None
    interspersed: bool = True
    notes: str = ""
    program: str = "sampan"

    def parse(self, words: list[str], *, one_dash: bool = False) -> Arguments:
        """What `words` say to this command.

        Args:
            one_dash: as for the function `parse`.

        Raises:
            UsageError: an unknown flag, a flag without its value, too few or too many operands.
            Unimplemented: a flag that a Wasm container cannot have.
        """
        try:
            options = [*self.options, HELP.replace(short="h") if one_dash else HELP]
            arguments = parse(words, options, interspersed=self.interspersed, one_dash=one_dash)
            if not arguments.on("help"):
                self._check_count(len(arguments.operands))
        except UsageError as error:
            error.command = self.name
            raise
        return arguments

    def _check_count(self, count: int) -> None:
        if count < self.least or (self.most is not None and count > self.most):
            if self.least == self.most:
                wanted = f"exactly {self.least}" if self.least else "no"
            elif count < self.least:
                wanted = f"at least {self.least}"
            else:
                wanted = f"at most {self.most}"
            plural = "" if wanted.endswith(" 1") else "s"
            raise UsageError(f"'{self.program} {self.name}' needs {wanted} argument{plural}, not {count}")


def parse(
    words: list[str], options: list[Option], *, interspersed: bool = True, one_dash: bool = False
) -> Arguments:
    """What `words` say, by the table `options`.

    Args:
        interspersed: whether flags may follow operands. one_dash: whether `-bundle` is `--bundle`, and
            `-h` is `--help`, as for runc.

    Raises:
        UsageError: a flag that is not in the table, or lacks its value.
        Unimplemented: a flag whose entry has a refusal.
    """
    arguments = Arguments(options)
    long = {option.name: option for option in options}
    short = {option.short: option for option in options if option.short}
    left = list(reversed(words))
    while left:
        word = left.pop()
        if word == "--":
            arguments.operands += reversed(left)
            break
        if word.startswith("--"):
            _take_long(word, long, left, arguments)
        elif one_dash and word[:1] == "-" and len(name := word[1:].partition("=")[0]) > 1 and name in long:
            _take_long(f"-{word}", long, left, arguments)
        elif word.startswith("-") and word != "-":
            _take_short(word, short, left, arguments)
        elif interspersed:
            arguments.operands.append(word)
        else:
            arguments.operands += [word, *reversed(left)]
            break
    return arguments


def _take_long(word: str, long: dict[str, Option], left: list[str], arguments: Arguments) -> None:
    name, equals, text = word[2:].partition("=")
    option = long.get(name)
    if option is None:
        raise UsageError(f"unknown flag: --{name}", fix=suggestion(name, long, "--"))
    _refuse(option, f"--{name}")
    if not equals:
        text = _next(option, f"--{name}", left) if option.takes_value else "true"
    arguments.put(option, text)


def _take_short(word: str, short: dict[str, Option], left: list[str], arguments: Arguments) -> None:
    letters = word[1:]
    while letters:
        option = short.get(letters[0])
        if option is None:
            raise UsageError(f"unknown shorthand flag: -{letters[0]} in {word[:40]!r}")
        _refuse(option, f"-{letters[0]}")
        rest = letters[1:]
        if rest.startswith("="):
            arguments.put(option, rest[1:])
            return
        if option.takes_value:
            arguments.put(option, rest or _next(option, f"-{letters[0]}", left))
            return
        arguments.put(option, "true")
        letters = rest


def _next(option: Option, shown: str, left: list[str]) -> str:
    if not left:
        raise UsageError(f"flag needs an argument: {shown} {option.value}")
    return left.pop()


def _refuse(option: Option, shown: str) -> None:
    if option.refusal:
        raise Unimplemented(f"{shown} cannot be had: {option.refusal}")


def suggestion(text: str, known: Iterable[str], prefix: str = "") -> str:
    """`did you mean 'X'?` for the known word nearest to `text`, or ""."""
    near = [(_distance(text, word), word) for word in known]
    distance, word = min(near, default=(99, ""))
    return f"did you mean {prefix}{word}?" if distance <= max(1, len(text) // 3) else ""


def _distance(a: str, b: str) -> int:
    """How many letters to insert, remove, replace or swap with their neighbour to make `b` of `a`."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(row[j - 1] + 1, last[j] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
