"""Waiting on plain descriptors in an event loop: pipes, terminals, sockets of packets."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

CHUNK = (64 << 10) + 1  # the longest packet of a container's control socket


class Descriptor:
    """A descriptor that belongs to this object; each of its two directions is used by one task."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._left: int | None = None
        self._reader: asyncio.Future[None] | None = None
        os.set_blocking(fd, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def read(self) -> bytes:
        """Some bytes, or a packet; nothing at the end, which a terminal whose last user has gone has too."""
        while self._left is None or self._left > 0:
            try:
                data = os.read(self.fd, CHUNK if self._left is None else min(CHUNK, self._left))
            except BlockingIOError:
                await self.readable()
                continue
            except OSError:
                return b""
            if self._left is not None:
                self._left -= len(data)
            return data
        return b""

    def read_no_further(self) -> None:
        """What has been written by now is read, and then it is at its end, though others may go on writing."""
        count = bytearray(4)
        fcntl.ioctl(self.fd, termios.FIONREAD, count)
        self._left = int.from_bytes(count, sys.byteorder)
        if self._reader is not None:
            _set(self._reader)

    async def write(self, data: bytes) -> bool:
        """Writes all of it; whether anybody was there to take it."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                await self._writable()
            except OSError:
                return False
        return True

    async def readable(self) -> None:
        """Waits until a read would not wait."""
        loop = asyncio.get_running_loop()
        self._reader = loop.create_future()
        loop.add_reader(self.fd, _set, self._reader)
        try:
            await self._reader
        finally:
            loop.remove_reader(self.fd)
            self._reader = None

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.add_writer(self.fd, _set, future)
        try:
            await future
        finally:
            loop.remove_writer(self.fd)

    def close(self) -> None:
        """May be called again; nobody must be waiting on it any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
