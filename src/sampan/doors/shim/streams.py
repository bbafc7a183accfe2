"""The ends of a process's standard streams: what containerd's paths and URLs mean.

Its fifos are opened so that nobody waits for anybody: stdout and stderr for reading and writing, which never blocks and
never breaks, so that the process has them itself. A fifo for stdin has an end before its first writer has come, so the
server copies it into a pipe, until the last writer has gone or CloseIO was called. `file://` names a file that is
appended to. `binary://` names a program that would get the output, as root, and is refused.
"""

from __future__ import annotations

import os
from stat import S_ISFIFO

from sampan.core.errors import Denied, Invalid, Unimplemented, from_os_error
from sampan.core.record import Record

_NULL = "/dev/null"


class Paths(Record):
    """What the caller asked for; an empty path is nothing at all."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class Ends:
    """Descriptors for 0, 1 and 2; -1 where there is none. `stdin_is_fifo`: it has to be copied."""

    def __init__(self) -> None:
        self.stdin = self.stdout = self.stderr = -1
        self.stdin_is_fifo = False

    def close(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = -1


def open_ends(paths: Paths) -> Ends:
    """Opens what the paths name.

    Raises:
        Invalid: a path names nothing that can be one. Denied: a program.
    """
    ends = Ends()
    try:
        ends.stdin = _open_input(paths.stdin)
        ends.stdin_is_fifo = S_ISFIFO(os.fstat(ends.stdin).st_mode)
        ends.stdout = _open_output(paths.stdout)
        same = paths.stderr == paths.stdout and "://" in paths.stdout
        ends.stderr = os.dup(ends.stdout) if same else _open_output(paths.stderr)
    except BaseException:
        ends.close()
        raise
    return ends


def _open_input(path: str) -> int:
    if not path:
        return os.open(_NULL, os.O_RDONLY | os.O_CLOEXEC)
    if not path.startswith("/"):
        raise Invalid(f"{path[:80]!r} is not an absolute path")
    return _open(path, os.O_RDONLY | os.O_NONBLOCK)


def _open_output(path: str) -> int:
    if not path:
        return os.open(_NULL, os.O_WRONLY | os.O_CLOEXEC)
    scheme, mark, rest = path.partition("://")
    if mark and scheme == "file":
        return _open_file(rest)
    if mark and scheme == "binary":
        raise Denied(
            "the output cannot go to a program: it would run as root for whoever makes containers",
            fix="write it to a file: file:///path",
        )
    if mark:
        raise Unimplemented(f"the output cannot go to a URL of the scheme {scheme[:20]!r}")
    if not path.startswith("/"):
        raise Invalid(f"{path[:80]!r} is not an absolute path")
    fd = _open(path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd


def _open_file(rest: str) -> int:
    path = rest.partition("?")[0]
    if not path.startswith("/"):
        raise Invalid(f"the file {path[:80]!r} is not an absolute path")
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise from_os_error(error, "make the folder of the log file") from error
        raise Invalid(f"{path[:80]!r} is not a file name") from error
    return _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY, 0o640)
    except ValueError as error:
        raise Invalid(f"{path[:80]!r} is not a file name") from error
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise Invalid(f"there is no fifo or file {path}") from error
        raise from_os_error(error, f"open {path}") from error


class On012:
    """Puts a process's ends on this process's own 0, 1 and 2 for as long as it is forked; a context manager."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def __enter__(self) -> None:
        for fd, target in ((self._ends.stdin, 0), (self._ends.stdout, 1), (self._ends.stderr, 2)):
            if fd >= 0:
                os.dup2(fd, target, inheritable=True)

    def __exit__(self, *_: object) -> None:
        null = os.open(_NULL, os.O_RDWR | os.O_CLOEXEC)
        for target in (0, 1, 2):
            os.dup2(null, target, inheritable=True)
        os.close(null)
