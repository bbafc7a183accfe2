"""Writes to files of /proc, never to what merely lies where one should be. proc(5), openat2(2).

A write that is redirected, by a mount over /proc or over one file in it, would lose a wall (a label, a limit)
without a word. So the file must be on a procfs, on the same mount as /proc itself, and reached by no link but
/proc/self.
"""

from __future__ import annotations

import os
from errno import ENOSYS, EPERM, EXDEV

from sampan.core.errors import Denied
from sampan.linux import syscalls

MAGIC = 0x9FA0
_NO_XDEV, _NO_MAGICLINKS, _BENEATH = 0x01, 0x02, 0x08


def write(path: str, text: str) -> None:
    """Write `text` to the file `path` below /proc (`self/oom_score_adj`), by one write(2).

    Raises:
        Denied: it is no file of procfs.
        OSError: as open(2) and write(2); the kernel's refusal of the text is one.
    """
    top = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(top, "/proc")
        fd = _open(top, path)
    finally:
        os.close(top)
    try:
        _check(fd, f"/proc/{path}")
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _open(top: int, path: str) -> int:
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    resolve = _NO_XDEV | _NO_MAGICLINKS | _BENEATH
    how = b"".join(value.to_bytes(8, "little") for value in (flags, 0, resolve))
    try:
        return syscalls.call("openat2", top, os.fsencode(path), how, len(how))
    except OSError as error:
        if error.errno == EXDEV:
            raise Denied(f"/proc/{path} is covered by another mount") from error
        if error.errno not in (ENOSYS, EPERM):  # a kernel, or a filter around us, without openat2
            raise
    return os.open(path, flags, dir_fd=top)


def _check(fd: int, name: str) -> None:
    import ctypes

    answer = ctypes.create_string_buffer(
        256
    )  # struct statfs, whose first word is the file system's magic number
    syscalls.call("fstatfs", fd, answer)
    if int.from_bytes(answer.raw[:4], "little") != MAGIC:
        raise Denied(f"{name} is not on a proc file system")
