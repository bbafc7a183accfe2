"""A container's log: CRI lines in two files of bounded size, or in one file that a kubelet wants and rotates.

The form is Kubernetes' CRI log format: `TIME STREAM TAG CONTENT`, tag `F` for a whole line and `P` for a piece
that the next one of its stream continues. The container process itself writes it (see `logwriter`).
"""

from __future__ import annotations

import os
import time
from stat import S_ISREG

from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, Unavailable, from_os_error
from sampan.core.record import Record
from sampan.core.units import parse_rfc3339
from sampan.linux.paths import make_dirs_in_root, open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sampan.container.records import Container
    from sampan.container.store import Entry

STDOUT, STDERR = 1, 2
STREAMS = {STDOUT: b"stdout", STDERR: b"stderr"}
FILES = ("log.0", "log.1")
REOPEN_SECONDS = 10.0  # for a process that only has to take a descriptor
_END = 64 << 10  # how much of a file's end is read at first


class LogLine(Record):
    """One piece of output: `time` in ns since 1970, `stream` 1 or 2, `content` with its line end if it had one."""

    time: int
    stream: int
    content: bytes


def has_log(entry: Entry) -> bool:
    """Whether a container's output was ever captured; one in the foreground writes straight to its caller."""
    return bool(entry.container.log_path) or os.path.exists(f"{entry.folder}/{FILES[0]}")


def open_log(container: Container) -> int:
    """The file at a container's `log_path`, open to be appended to; it and the folders above it are made if missing.

    Raises:
        Invalid: the path leads out of `log_folder`, over a link that does, or to what is no file.
        SampanError: Denied, Exhausted, ...
    """
    path, folder = container.log_path, container.log_folder.rstrip("/") or os.path.dirname(container.log_path)
    name = path.removeprefix(f"{folder}/")
    if not path.startswith("/") or name == path or ".." in name.split("/"):
        raise Invalid(f"the log path {path!r} is not below {folder!r}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        os.makedirs(folder, 0o755, exist_ok=True)
        top = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.close(make_dirs_in_root(top, os.path.dirname(name)))
            fd = open_in_root(top, name, flags, 0o640)
        finally:
            os.close(top)
    except NotFound as error:  # what is missing was made: it is a link to somewhere else
        raise Invalid(f"the log path {path!r} crosses a link that leads nowhere in {folder!r}") from error
    except OSError as error:
        raise from_os_error(error, f"open the log file {path!r}") from error
    if not S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Invalid(f"the log path {path!r} is no regular file")
    return fd


def reopen(entry: Entry) -> None:
    """Has a running container go on with its log in a new file at its `log_path`, the old one having been renamed.

    Raises:
        Precondition: it does not run, or has no `log_path`. Unavailable: its process does not answer.
        SampanError: the file cannot be opened; the container goes on with the old one.
    """
    from sampan.container import control

    container = entry.container
    if not container.log_path:
        raise Precondition(f"container {container.name} has no log file that somebody else rotates")
    if not entry.is_alive():
        raise Precondition(f"container {container.name} is not running")
    fd = open_log(container)
    try:
        answer, _ = control.ask(entry.folder, {"do": "reopen"}, REOPEN_SECONDS, [fd])
    finally:
        os.close(fd)
    if answer != {}:
        raise Unavailable(f"container {container.name} did not take its new log file: {answer}")


def read_log(
    folder: str,
    *,
    path: str = "",
    since: int = 0,
    until: int = 0,
    tail: int | None = None,
    follow: Callable[[], bool] | None = None,
) -> Iterator[LogLine]:
    """The log's lines in order.

    Args:
        folder: the container's. path: its `log_path`: what is there now, and with `follow` what comes after that.
        since, until: nanoseconds since 1970; 0 for no bound.
        tail: only the last so many lines (of those in the bounds).
        follow: with it, goes on with new lines for as long as it returns True.
    """
    reader: _Reader | _PathReader = _PathReader(path) if path else _Reader(folder)
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
        self._seen = dict.fromkeys(FILES, 0)

    def new_lines(self, tail: int | None = None) -> Iterator[LogLine]:
        """What has come since the last call; with `tail`, at least the last so many whole lines of it."""
        chunks = [(lines, f"{self._folder}/{name}") for name in FILES if (lines := self._read(name))]
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


class _PathReader:
    """Reads the file at one path, and the next one there when that is renamed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _open_if_there(path)
        self._seen = 0

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def new_lines(self, tail: int | None = None) -> Iterator[LogLine]:
        """What has come since the last call; with `tail`, the last so many whole lines of it."""
        while True:
            is_over = self._has_successor()
            for line in self._rest() if tail is None else self._end(tail):
                yield parse_line(line, self._path)
            if not is_over:
                return
            self._close()
            self._file, self._seen, tail = _open_if_there(self._path), 0, None

    def _has_successor(self) -> bool:
        """Whether another file is at the path, with something in it: then nothing more comes to this one."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return False
        return there.st_size > 0 and (self._file < 0 or not os.path.samestat(there, os.fstat(self._file)))

    def _rest(self) -> Iterator[bytes]:
        """The whole lines from where the last call ended, read piece by piece."""
        if self._file >= 0 and os.fstat(self._file).st_size < self._seen:  # somebody emptied it
            self._seen = 0
        left = b""
        while self._file >= 0 and (data := os.pread(self._file, 1 << 20, self._seen + len(left))):
            lines = (left + data).split(b"\n")
            left = lines.pop()
            for line in lines:
                self._seen += len(line) + 1
                yield line

    def _end(self, tail: int) -> list[bytes]:
        """The last so many lines, read from the end: nobody bounds the file for us."""
        size = os.fstat(self._file).st_size if self._file >= 0 else 0
        wanted = _END
        while True:
            self._seen = max(0, size - wanted)
            first = self._seen > 0
            lines = list(self._rest())[first:]  # the first one is a part of a line
            if _cut(lines, tail) < 0 or not first:
                return lines
            wanted *= 2


def _open_if_there(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return -1


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
