"""One stream of a connection, whatever multiplexes it, and the bound on what all of them hold."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.doors.cri.streaming.pipes import Pipe

MOST_HELD = 256 << 10  # bytes of all streams of a connection that nobody has taken yet
LOOK_SECONDS = 1.0  # between looks at whether a client that is not read from is still there


class Stream(ABC):
    """Bytes both ways.

    Attributes:
        headers: what the client says of it.
    """

    def __init__(self, headers: dict[str, str], room: Room) -> None:
        self.headers = headers
        self._room = room
        self._held = bytearray()
        self._ended = False
        self._is_ignored = False
        self._changed = asyncio.Event()

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Sends bytes; returns when there is room for more. Raises ConnectionError where the client is gone."""

    @abstractmethod
    async def end(self) -> None:
        """Sends no more."""

    @abstractmethod
    async def reset(self) -> None:
        """Gives the stream up, both ways."""

    async def read(self) -> bytes:
        """All that has come since the last time; nothing at the end."""
        while not self._held and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        return self._take()

    def ignore_input(self) -> None:
        """Throws away what comes on it."""
        self._is_ignored = True
        self._take()

    def feed(self, data: bytes) -> None:
        """Bytes have come."""
        if not self._is_ignored and not self._ended:
            self._held += data
            self._room.fill(len(data))
            self._changed.set()

    def finish(self) -> None:
        """No more will come."""
        self._ended = True
        self._changed.set()

    def drop(self) -> None:
        """No more will come, and what has come does not matter."""
        self.finish()
        self._take()

    def _take(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        self._room.free(len(data))
        return data


class Room:
    """How much all streams of a connection hold that nobody has taken yet."""

    def __init__(self) -> None:
        self._held = 0
        self._freed = asyncio.Event()

    def fill(self, count: int) -> None:
        self._held += count

    def free(self, count: int) -> None:
        self._held -= count
        self._freed.set()

    async def wait(self, pipe: Pipe) -> None:
        """Waits until more may be read from a client, or it has gone.

        One stream that nobody takes from so holds up the others of its connection: there is no other way to hold up a
        client without flow control.
        """
        while self._held > MOST_HELD and not pipe.is_gone():
            self._freed.clear()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._freed.wait()
            except TimeoutError:
                continue
