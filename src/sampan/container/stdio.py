"""Where a workload's descriptors 0, 1 and 2 lead.

`inherit`: to the caller's own, for the command line in the foreground and for callers that pass fifos.
`capture`: to the container process itself, which writes the log and serves who is attached.
`attached`: the same, and the workload does not begin before somebody is attached: no output goes past them.
`nowhere`: to /dev/null, for `exec` in the background.
"""

from __future__ import annotations

import fcntl
import os
import termios

from sampan.core.record import Record

INHERIT, CAPTURE, ATTACHED, NOWHERE = "inherit", "capture", "attached", "nowhere"


class Ends(Record):
    """The supervisor's ends of what it captures; -1 where there is none. With a terminal, `output` is its master."""

    stdin: int = -1
    output: int = -1
    errors: int = -1
    terminal: bool = False


def arrange(mode: str, *, keep_stdin: bool, terminal: bool) -> Ends:
    """Puts 0, 1 and 2 in their places (in the container process, before it jails itself)."""
    if mode == INHERIT:
        if not keep_stdin:
            _replace(os.open("/dev/null", os.O_RDONLY), 0)
        return Ends()
    if mode == NOWHERE:
        for fd in (0, 1, 2):
            _replace(os.open("/dev/null", os.O_RDWR), fd)
        return Ends()
    if terminal:
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)  # the keys that are signals are signals to this process
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.close(slave)
        os.set_blocking(master, False)
        return Ends(stdin=master, output=master, terminal=True)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    ends = Ends(output=out_read, errors=err_read)
    if keep_stdin:
        in_read, ends.stdin = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ends.stdin, False)
    else:
        in_read = os.open("/dev/null", os.O_RDONLY)
    _replace(in_read, 0)
    _replace(out_write, 1)
    _replace(err_write, 2)
    os.set_blocking(out_read, False)
    os.set_blocking(err_read, False)
    return ends


def _replace(fd: int, target: int) -> None:
    os.dup2(fd, target, inheritable=True)
    if fd != target:
        os.close(fd)


def resize(fd: int, rows: int, columns: int) -> None:
    """Sets a terminal's size, in characters."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4))


def fill_standard_descriptors() -> None:
    """Opens /dev/null where the caller left 0, 1 or 2 closed, so that no other file takes their numbers."""
    for fd in (0, 1, 2):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # the lowest free number is `fd`
