"""Writes a container's log, from inside its jail: to two files of its own, or to the one that a kubelet wants.

A jailed process opens and renames nothing. So both of its own files are open from the start, and when one is full, the
other is emptied and becomes the one written to. The file of a kubelet is open from the start, too; the kubelet renames
it when it is large, has a new one made, and its descriptor is sent to the process.
"""

from __future__ import annotations

import errno
import os
import time

from sampan.container.logs import FILES, STREAMS
from sampan.core.units import rfc3339

MAX_PIECE = 16 << 10
MAX_FILE = 32 << 20


class LogWriter:
    """Writes the two files; never blocks on anything but the disk, never fails for a full one."""

    def __init__(self, folder: str, limit: int = MAX_FILE) -> None:
        self._fds: list[int] = []
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        for name in FILES:
            self._fds.append(os.open(f"{folder}/{name}", flags, 0o640))
        self._limit = limit
        self._last = 0
        self._lost = 0
        first, second = map(os.fstat, self._fds)
        if second.st_size and second.st_mtime_ns > first.st_mtime_ns:  # two new ones begin with the first
            self._fds.reverse()
        self._size = os.fstat(self._fds[0]).st_size

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)

    def write(self, stream: int, data: bytes) -> None:
        """Appends what the workload wrote to `stream`; times never go back within one log."""
        now = self._last = max(self._last, time.time_ns())
        head = f"{rfc3339(now)} ".encode() + STREAMS[stream]
        out = bytearray()
        for line in data.splitlines(keepends=True) if b"\r" not in data else _lines(data):
            whole = line.endswith(b"\n")
            body = line[:-1] if whole else line
            while len(body) > MAX_PIECE:
                out += head + b" P " + body[:MAX_PIECE] + b"\n"
                body = body[MAX_PIECE:]
            out += head + (b" F " if whole else b" P ") + body + b"\n"
        self._append(bytes(out))

    def _append(self, data: bytes) -> None:
        if self._lost:
            note = (
                f"{rfc3339(self._last)} stderr F sampan: {self._lost} bytes of the log were lost, no space\n"
            )
            data = note.encode() + data
        self._make_room(len(data))
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fds[0], view) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
                raise
            self._lost += len(data)
            self._take_back(len(data) - len(view))
            return
        self._size += len(data)
        self._lost = 0

    def _make_room(self, count: int) -> None:
        if self._size and self._size + count > self._limit:
            self._fds.reverse()
            os.ftruncate(self._fds[0], 0)
            self._size = 0

    def _take_back(self, count: int) -> None:
        """Removes the part of a write that the disk still had room for: it would be a torn line."""
        self._size = os.fstat(self._fds[0]).st_size - count
        try:
            os.ftruncate(self._fds[0], self._size)
        except OSError:  # the disk has failed
            return

    @property
    def is_holding(self) -> bool:
        """Whether it keeps the beginning of a line, until its rest comes or `release` is called."""
        return False

    def release(self) -> None:
        """Writes what it holds."""

    def flush(self) -> None:
        """Makes what was written durable."""
        try:
            os.fdatasync(self._fds[0])
        except OSError:  # an I/O error here was met by the write too; the exit record must still be written
            return


class CriLogWriter(LogWriter):
    """Writes one file, which somebody else rotates; how large it becomes and how durable it is are not ours to say.

    A line that comes in pieces is written whole where its end comes soon: those who read such a file count lines.
    """

    def __init__(self, fd: int) -> None:
        self._fds = [fd]
        self._size = self._last = self._lost = 0
        self._held = dict.fromkeys(STREAMS, b"")

    @property
    def is_holding(self) -> bool:
        return any(self._held.values())

    def write(self, stream: int, data: bytes) -> None:
        data = self._held[stream] + data
        end = data.rfind(b"\n") + 1
        rest = len(data) - end
        if rest > MAX_PIECE:
            end += (rest - 1) // MAX_PIECE * MAX_PIECE
        self._held[stream] = data[end:]
        if end:
            super().write(stream, data[:end])

    def release(self) -> None:
        for stream, data in self._held.items():
            if data:
                self._held[stream] = b""
                super().write(stream, data)

    def reopen(self, fd: int) -> None:
        """Goes on in another file, whose descriptor is this object's now; what it holds goes there, too."""
        os.close(self._fds[0])
        self._fds[0] = fd

    def flush(self) -> None:
        self.release()

    def _make_room(self, count: int) -> None:
        """There is always room: its limit is whoever rotates it."""


def _lines(data: bytes) -> list[bytes]:
    """Lines that end in a line feed alone (bytes.splitlines also ends them at a carriage return)."""
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines
