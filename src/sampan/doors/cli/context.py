"""What every command is given besides its own words: the roots, the environment, and how much to say."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def note(self, text: str) -> None:
        """Something a person should know; the command goes on."""
        self._say("info", "note", text)

    def warn(self, text: str) -> None:
        """Something a person should change; the command goes on."""
        self._say("warn", "warning", text)

    def _say(self, level: str, word: str, text: str) -> None:
        from sampan.core.errors import printable

        if LEVELS.index(level) >= LEVELS.index(self.level):
            print(f"{word}: {printable(text)}", file=sys.stderr, flush=True)
