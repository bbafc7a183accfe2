"""A client's connection after its upgrade: bytes both ways, with an end to every waiting."""

from __future__ import annotations

import asyncio
import select
import time
from typing import Protocol

IDLE_SECONDS = 4 * 3600.0  # without a byte either way, as containerd's default
LINGER_SECONDS = 10.0  # for a client to take the last bytes
CHUNK = 64 << 10


class Pipe(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """Some bytes, at most `CHUNK` or one message of them; none at the end."""

    async def write(self, data: bytes) -> None:
        """Sends bytes; returns when there is room for more. Raises ConnectionError where the client is gone."""

    async def close(self) -> None:
        """Ends the connection when all that was written is sent, or soon after."""

    def is_gone(self) -> bool:
        """Whether the client has left, though what it sent last may not be read yet."""


class SocketPipe:
    """The pipe of a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._first = b""
        self._used = time.monotonic()
        self._poll = select.poll()
        self._poll.register(writer.get_extra_info("socket").fileno(), select.POLLRDHUP)

    def push_back(self, data: bytes) -> None:
        """Has the next read begin with bytes that somebody else has read."""
        self._first = data

    async def read(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return first
        while True:
            left = self._used + IDLE_SECONDS - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0)):
                    data = await self._reader.read(CHUNK)
            except TimeoutError:
                if time.monotonic() < self._used + IDLE_SECONDS:  # something was written meanwhile
                    continue
                return b""
            except ConnectionError:
                return b""
            self._used = time.monotonic()
            return data

    async def write(self, data: bytes) -> None:
        self._used = time.monotonic()
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                self._writer.write_eof()
                # to close before the client has would lose what it has not read
                while await self._reader.read(CHUNK):
                    continue
        except (OSError, TimeoutError):
            pass
        self._writer.transport.abort()

    def is_gone(self) -> bool:
        return self._writer.is_closing() or bool(self._poll.poll(0))
