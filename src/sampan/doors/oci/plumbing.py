"""What `create`, `run` and `exec` are given beside the workload: a console socket, descriptors, a file for the pid."""

from __future__ import annotations

import os

from sampan.core.commandline import UsageError
from sampan.core.errors import Invalid, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments

MOST_PRESERVED = 1024


def console(arguments: Arguments, *, terminal: bool, given: int) -> int:
    """A connection that takes the terminal's master; -1 where the process has no terminal.

    Args:
        given: a connection that the caller has anyhow, else -1.

    Raises:
        Invalid: a terminal that nobody takes, or somebody who takes one and there is none.
    """
    path = arguments.value("console-socket")
    if not terminal:
        if path:
            raise Invalid("a console socket is of use only where process.terminal is true")
        return -1
    if path:
        from sampan.container.console import connect

        return connect(path)
    if given < 0:
        raise Invalid("process.terminal needs somebody to take the terminal", fix="give --console-socket")
    return given


def preserved(arguments: Arguments) -> int:
    """How many descriptors from 3 up the process keeps."""
    text = arguments.value("preserve-fds")
    if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) < MOST_PRESERVED):
        raise UsageError(f"--preserve-fds {text[:20]!r} is not a number of descriptors")
    return int(text)


def write_pid(arguments: Arguments, pid: int) -> None:
    """Writes the pid file, if one is asked for; a reader sees all of it or none.

    Raises:
        SampanError: it cannot be written.
    """
    path = arguments.value("pid-file")
    if not path:
        return
    folder, _, name = os.path.abspath(path).rpartition("/")
    temporary = f"{folder}/.{name}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, str(pid).encode())
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except ValueError as error:
        raise Invalid(f"the pid file's path {path[:60]!r} has a NUL byte in it") from error
    except OSError as error:
        raise from_os_error(error, "write the pid file") from error
