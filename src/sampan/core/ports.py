"""Protocols by which a room takes what another provides, without importing it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Progress(Protocol):
    """Shows how far something long is. Calls may come from several threads."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """A piece of work begins; `total` in bytes where known."""

    def advance(self, key: str, done: int) -> None:
        """`done` bytes of it are there now (absolute, not a step)."""

    def finish(self, key: str, text: str) -> None:
        """It ended; `text` says how ("Pull complete")."""


class NoProgress:
    """Shows nothing."""

    def start(self, key: str, label: str, total: int | None) -> None:
        pass

    def advance(self, key: str, done: int) -> None:
        pass

    def finish(self, key: str, text: str) -> None:
        pass
