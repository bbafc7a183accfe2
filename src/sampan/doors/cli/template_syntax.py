"""The syntax of templates: text and actions, blocks, pipelines, terms. Nothing is carried out here."""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.doors.cli.template_functions import FUNCTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SPACE = " \t\r\n"
MAX_DEPTH = 50
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_ENDS = frozenset(' \t\r\n|()=:,"`')
_BLOCKS = ("if", "range", "with")


def parse(source: str) -> list[Any]:
    """The nodes of a template.

    Raises:
        Invalid: it is malformed, or uses something that is not supported.
    """
    nodes, end = _parse(_split(source), [], 0)
    if end:
        raise Invalid(f"template: unexpected {{{{{end}}}}}")
    return nodes


class Text:
    def __init__(self, text: str) -> None:
        self.text = text


class Action:
    """`{{PIPELINE}}` or `{{$name := PIPELINE}}`."""

    def __init__(self, name: str, pipeline: list[list[Any]]) -> None:
        self.name = name
        self.pipeline = pipeline


class Block:
    """`if`, `range` or `with`, up to its `end`; `names` are the variables that `range` or `with` sets."""

    def __init__(self, word: str, names: list[str], pipeline: list[list[Any]]) -> None:
        self.word = word
        self.names = names
        self.pipeline = pipeline
        self.body: list[Any] = []
        self.otherwise: list[Any] = []


def _split(source: str) -> list[tuple[bool, str]]:
    """Text and actions in turn: (whether it is an action, its text), with `{{-` and `-}}` carried out."""
    pieces: list[tuple[bool, str]] = []
    rest, trim = source, False
    while True:
        text, opened, rest = rest.partition("{{")
        if trim:
            text = text.lstrip(SPACE)
        if opened and rest[:1] == "-" and rest[1:2] in SPACE:
            text, rest = text.rstrip(SPACE), rest[1:]
        if text:
            pieces.append((False, text.replace("\\t", "\t").replace("\\n", "\n")))
        if not opened:
            return pieces
        action, rest = _cut_action(rest)
        trim = len(action) > 1 and action[-1] == "-" and action[-2] in SPACE
        action = (action[:-1] if trim else action).strip()
        if not (action.startswith("/*") and action.endswith("*/")):
            pieces.append((True, action))


def _cut_action(rest: str) -> tuple[str, str]:
    quote = ""
    at = 0
    while at < len(rest):
        char = rest[at]
        if quote:
            if char == "\\" and quote == '"':
                at += 1
            elif char == quote:
                quote = ""
        elif char in '"`':
            quote = char
        elif rest.startswith("}}", at):
            return rest[:at], rest[at + 2 :]
        at += 1
    raise Invalid(f"template: no }}}} closes {'{{' + rest[:40]!r}")


def _parse(pieces: list[tuple[bool, str]], blocks: list[str], depth: int) -> tuple[list[Any], str]:
    """Nodes up to the `end` or `else…` that closes the innermost of `blocks`, and that word; takes from `pieces`."""
    if depth > MAX_DEPTH:
        raise Invalid("template: nested too deeply")
    nodes: list[Any] = []
    while pieces:
        is_action, text = pieces.pop(0)
        if not is_action:
            nodes.append(Text(text))
            continue
        word = text.split(maxsplit=1)[0] if text else ""
        if word in ("end", "else"):
            return nodes, text
        nodes.append(
            _parse_block(text, word, pieces, blocks, depth) if word in _BLOCKS else _parse_action(text)
        )
    if blocks:
        raise Invalid(f"template: {{{{{blocks[-1]}}}}} without {{{{end}}}}")
    return nodes, ""


def _parse_block(
    text: str, word: str, pieces: list[tuple[bool, str]], blocks: list[str], depth: int
) -> Block:
    names, words = _assigned(_words(text[len(word) :]))
    block = Block(word, names, _pipeline(words))
    block.body, closer = _parse(pieces, [*blocks, word], depth + 1)
    inner = closer.removeprefix("else").lstrip()
    if closer == "else":
        block.otherwise, closer = _parse(pieces, [*blocks, word], depth + 1)
    elif closer != inner and inner.startswith(("if ", "with ")):
        block.otherwise = [_parse_block(inner, inner.split()[0], pieces, blocks, depth + 1)]
        return block
    if closer != "end":
        raise Invalid(f"template: unexpected {{{{{closer}}}}}")
    return block


def _parse_action(text: str) -> Action:
    names, words = _assigned(_words(text))
    if len(names) > 1:
        raise Invalid("template: only range sets two variables")
    return Action(names[0] if names else "", _pipeline(words))


def _assigned(words: list[Any]) -> tuple[list[str], list[Any]]:
    """The variables that are set (`$a, $b :=`), and the words of the pipeline."""
    for sign in (":=", "="):
        if sign in words:
            at = words.index(sign)
            names = [word for word in words[:at] if word != ","]
            if not names or not all(isinstance(n, str) and n.startswith("$") and len(n) > 1 for n in names):
                raise Invalid(f"template: {sign} needs a variable before it")
            return names, words[at + 1 :]
    return [], words


class Literal:
    def __init__(self, value: object) -> None:
        self.value = value


def _words(text: str) -> list[Any]:
    """Words as `str`, literals as `Literal`."""
    words: list[Any] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in SPACE:
            at += 1
        elif char == '"':
            value, at = _quoted(text, at + 1)
            words.append(Literal(value))
        elif char == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise Invalid("template: a ` is not closed")
            words.append(Literal(text[at + 1 : end]))
            at = end + 1
        elif text.startswith(":=", at):
            words.append(":=")
            at += 2
        elif char in "|(),=":
            words.append(char)
            at += 1
        else:
            end = at + 1
            while end < len(text) and text[end] not in _ENDS:
                end += 1
            words.append(_word(text[at:end]))
            at = end
    return words


def _quoted(text: str, at: int) -> tuple[str, int]:
    out: list[str] = []
    while at < len(text):
        char = text[at]
        if char == '"':
            return "".join(out), at + 1
        if char == "\\":
            at += 1
            escape = text[at : at + 1]
            if escape not in _ESCAPES:
                raise Invalid(f"template: the escape \\{escape} is not supported")
            char = _ESCAPES[escape]
        out.append(char)
        at += 1
    raise Invalid('template: a " is not closed')


def _word(text: str) -> Any:
    if text in ("true", "false"):
        return Literal(text == "true")
    if text == "nil":
        return Literal(None)
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        return Literal(int(text))
    if digits[:1].isdigit():
        try:
            return Literal(float(text))
        except ValueError:
            raise Invalid(f"template: {text[:40]!r} is not a number") from None
    return text


def _pipeline(words: list[Any]) -> list[list[Any]]:
    """Commands, each a list of terms; a nested pipeline is a term of type list."""
    commands, left = _commands(words, 0)
    if left:
        raise Invalid("template: unexpected )")
    return commands


def _commands(words: list[Any], depth: int) -> tuple[list[list[Any]], bool]:
    """The commands up to the `)` that closes them; whether there was one. Takes from `words`."""
    if depth > MAX_DEPTH:
        raise Invalid("template: nested too deeply")
    commands: list[list[Any]] = [[]]
    closed = False
    while words:
        word = words.pop(0)
        if word == ")":
            closed = True
            break
        if word == "(":
            inner, ended = _commands(words, depth + 1)
            if not ended:
                raise Invalid("template: a ( is not closed")
            commands[-1].append(Nested(inner))
        elif word == "|":
            commands.append([])
        elif word in (",", ":=", "="):
            raise Invalid(f"template: unexpected {word}")
        elif (
            isinstance(word, str) and commands[-1] and isinstance(commands[-1][-1], Nested) and word[0] == "."
        ):
            commands[-1][-1].path = word
        else:
            commands[-1].append(_checked(word, first=not commands[-1]))
    if not all(commands):
        raise Invalid("template: a command is missing")
    return commands, closed


class Nested:
    """`(PIPELINE)`, maybe with `.A.B` behind it."""

    def __init__(self, pipeline: list[list[Any]]) -> None:
        self.pipeline = pipeline
        self.path = ""


def _checked(word: Any, *, first: bool) -> Any:
    if isinstance(word, Literal) or word[0] in ".$":
        return word
    if not first:
        if word in FUNCTIONS:
            raise Invalid(f"template: call {word} in parentheses")
        raise Invalid(f"template: {word[:40]!r} is neither a field nor a value")
    if word not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise Invalid(f"template: {word[:40]!r} is not supported", fix=f"the functions are {known}")
    return word
