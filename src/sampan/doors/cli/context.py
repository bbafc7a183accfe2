"""What every command is given besides its own words: the roots, the environment, and how much to say."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sampan.core.errors import SampanError
    from sampan.core.roots import Roots

LEVELS = ("debug", "info", "warn", "error", "fatal")


class Context:
    """One invocation of `sampan`.

    Attributes:
        roots: where things are kept. env: the environment it was started with.
        level: the least important messages that are shown on standard error, one of `LEVELS`.
    """

    def __init__(self, roots: Roots, env: Mapping[str, str], level: str = "info") -> None:
        self.roots = roots
        self.env = env
        self.level = level

    @property
    def debug(self) -> bool:
        """Whether tracebacks are wanted."""
        return self.level == "debug"

    def tell(self, text: str) -> None:
        """What is going on, word for word."""
        self._say("info", "", text)

    def note(self, text: str) -> None:
        """Something a person should know; the command goes on."""
        self._say("info", "note: ", text)

    def warn(self, text: str) -> None:
        """Something a person should change; the command goes on."""
        self._say("warn", "warning: ", text)

    def _say(self, level: str, word: str, text: str) -> None:
        from sampan.core.errors import printable

        if LEVELS.index(level) >= LEVELS.index(self.level):
            print(f"{word}{printable(text)}", file=sys.stderr, flush=True)


def complain(error: SampanError) -> None:
    """An error as every person sees it: one line on standard error."""
    try:
        print(f"sampan: {error} ({error.kind})", file=sys.stderr, flush=True)
    except OSError:  # nobody is there to be told
        return


def each(names: list[str], action: Callable[[str], None]) -> int:
    """Does `action` for every name, the ones after a failure too; the exit code, 1 when one failed."""
    from sampan.core.errors import SampanError

    code = 0
    for name in names:
        try:
            action(name)
        except SampanError as error:
            complain(error)
            code = 1
    return code


def at_once(names: list[str], action: Callable[[str], str]) -> list[Callable[[], str]]:
    """Begins `action` for every name, each on a thread of its own, for actions that wait.

    For each name comes back what waits for its action, then returns what that returned or raises what it raised.
    """
    from threading import Thread

    returned: dict[int, str] = {}
    raised: dict[int, BaseException] = {}

    def work(number: int) -> None:
        try:
            returned[number] = action(names[number])
        except BaseException as error:  # raised again for who asks
            raised[number] = error

    workers = [Thread(target=work, args=(number,), daemon=True) for number in range(len(names))]
    for worker in workers:
        worker.start()

    def outcome(number: int) -> str:
        workers[number].join()
        if number in raised:
            raise raised[number]
        return returned[number]

    return [lambda number=number: outcome(number) for number in range(len(names))]  # type: ignore[misc]


def each_at_once(names: list[str], action: Callable[[str], str], then: Callable[[str], None] = print) -> int:
    """As `each`, with all actions at the same time, and `then` done in order with what each returned."""
    outcomes = iter(at_once(names, action))
    return each(names, lambda _: then(next(outcomes)()))
