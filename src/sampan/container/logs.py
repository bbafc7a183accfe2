"""A container's log: CRI lines in two files of bounded size, written by the container process itself.

The form is Kubernetes' CRI log format: `TIME STREAM TAG CONTENT`, tag `F` for a whole line and `P` for a piece
that the next one of its stream continues. A jailed process opens and renames nothing, so both files are open
from the start: when one is full, the other is emptied and becomes the one written to.
"""

from __future__ import annotations

import errno
import os
import time

from sampan.core.errors import DataLoss
from sampan.core.record import Record
from sampan.core.units import parse_rfc3339, rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDOUT, STDERR = 1, 2
STREAMS = {STDOUT: b"stdout", STDERR: b"stderr"}
MAX_PIECE = 16 << 10
MAX_FILE = 32 << 20
_FILES = ("log.0", "log.1")


class LogLine(Record):
    """One piece of output: `time` in ns since 1970, `stream` 1 or 2, `content` with its line end if it had one."""

    time: int
    stream: int
    content: bytes


class LogWriter:
    """Writes the two files; never blocks on anything but the disk, never fails for a full one."""

    def __init__(self, folder: str, limit: int = MAX_FILE) -> None:
        self._fds: list[int] = []
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        for name in _FILES:
            self._fds.append(os.open(f"{folder}/{name}", flags, 0o640))
        self._limit = limit
        self._last = 0
        self._lost = 0
        if os.fstat(self._fds[1]).st_mtime_ns > os.fstat(self._fds[0]).st_mtime_ns:
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
        if self._size and self._size + len(data) > self._limit:
            self._fds.reverse()
            os.ftruncate(self._fds[0], 0)
            self._size = 0
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fds[0], view) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
                raise
            self._lost += len(data)
            self._size = os.fstat(self._fds[0]).st_size
            return
        self._size += len(data)
        self._lost = 0

    def flush(self) -> None:
        """Makes what was written durable."""
        try:
            os.fdatasync(self._fds[0])
        except OSError:  # an I/O error here was met by the write too; the exit record must still be written
            return


def has_log(folder: str) -> bool:
    """Whether a container's output was ever captured; one in the foreground writes straight to its caller."""
    return os.path.exists(f"{folder}/{_FILES[0]}")


def _lines(data: bytes) -> list[bytes]:
    """Lines that end in a line feed alone (bytes.splitlines also ends them at a carriage return)."""
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def read_log(
    folder: str,
    *,
    since: int = 0,
    until: int = 0,
    tail: int | None = None,
    follow: Callable[[], bool] | None = None,
) -> Iterator[LogLine]:
    """The log's lines in order.

    Args:
        folder: the container's.
        since, until: nanoseconds since 1970; 0 for no bound.
        tail: only the last so many lines (of those in the bounds).
        follow: with it, goes on with new lines for as long as it returns True.
    """
    reader = _Reader(folder)
    found = reader.new_lines(None if since or until else tail)
    lines = (line for line in found if line.time >= since and (not until or line.time <= until))
    yield from lines if tail is None else _last(list(lines), tail)
    while follow is not None:
        going = follow()
        for line in reader.new_lines():
            if until and line.time > until:
                return
            if line.time >= since:
                yield line
        if not going:
            return
        time.sleep(0.05)


def _last(lines: list[LogLine], count: int) -> list[LogLine]:
    """The last `count` whole lines with the pieces that belong to them."""
    left, start = count, len(lines)
    while start > 0:
        ends = lines[start - 1].content.endswith(b"\n") or start == len(lines)
        if ends and left == 0:
            break
        left -= ends
        start -= 1
    return lines[start:]


class _Reader:
    """Reads both files, the older first, and remembers how far."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen = dict.fromkeys(_FILES, 0)

    def new_lines(self, tail: int | None = None) -> Iterator[LogLine]:
        """What has come since the last call; with `tail`, at least the last so many whole lines of it."""
        chunks = [(lines, f"{self._folder}/{name}") for name in _FILES if (lines := self._read(name))]
        chunks.sort(key=lambda chunk: parse_line(chunk[0][0], chunk[1]).time)
        if tail is not None:
            for lines, _ in reversed(chunks):
                tail = _cut(lines, tail)
        for lines, where in chunks:
            for line in lines:
                yield parse_line(line, where)

    def _read(self, name: str) -> list[bytes]:
        try:
            fd = os.open(f"{self._folder}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        with open(fd, "rb") as file:
            if os.fstat(fd).st_size < self._seen[name]:  # emptied: it is the newer one now
                self._seen[name] = 0
            file.seek(self._seen[name])
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._seen[name] += len(whole)
        return whole.split(b"\n")[:-1]


def _cut(lines: list[bytes], count: int) -> int:
    """Leaves the last `count` whole lines and the pieces around them, none for -1.

    How many of `count` were not there; -1 when all were, and nothing before these lines belongs to them.
    """
    start = len(lines)
    while start > 0 and count >= 0:
        is_whole = lines[start - 1].split(b" ", 3)[2:3] == [b"F"]
        if is_whole and count == 0:
            count = -1
            break
        count -= is_whole
        start -= 1
    del lines[:start]
    return count


def parse_line(line: bytes, where: str) -> LogLine:
    """One CRI log line, without its line end.

    Raises:
        DataLoss: it is none.
    """
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P") or parts[1] not in STREAMS.values():
        raise DataLoss(f"{where} has a line that is no log line: {line[:80]!r}")
    moment = parse_rfc3339(parts[0].decode("ascii", "replace"))
    return LogLine(
        moment, STDOUT if parts[1] == b"stdout" else STDERR, parts[3] + (b"\n" if parts[2] == b"F" else b"")
    )
