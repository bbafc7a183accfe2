"""What is mounted where in this mount namespace, as the kernel tells it. proc_pid_mountinfo(5)

Paths are as this process sees them; a path found here is resolved again before anything is done to it.
"""

from __future__ import annotations

import os

from sampan.core.errors import Precondition, from_os_error
from sampan.linux import syscalls
from sampan.linux.files import read_file


def points() -> list[str]:
    """Where something is mounted, in the order of mounting."""
    return [os.fsdecode(_unescaped(line.split()[4])) for line in _lines()]


def filesystem_of(fd: int) -> int:
    """The magic number of the file system that a descriptor is on. statfs(2)"""
    from ctypes import create_string_buffer

    buffer = create_string_buffer(256)
    try:
        syscalls.call("fstatfs", fd, buffer)
    except OSError as error:
        raise from_os_error(error, f"look at {_name(fd)!r}") from error
    return int.from_bytes(buffer.raw[:4], "little")


def below(folder: int) -> list[tuple[str, str, int]]:
    """The mounts below a folder: path from there (`/a/b`), type of file system, device as in `st_dev`."""
    top = os.fsencode(_name(folder)).rstrip(b"/") + b"/"
    found = []
    for line in _lines():
        if top not in line and b"\\" not in line:  # the most of them, on a host with many
            continue
        _, _, device, _, point, _ = line.split(b" ", 5)
        path = _unescaped(point)
        if path.startswith(top) and path != top:
            major, _, minor = device.partition(b":")
            fstype = line.partition(b" - ")[2].split(b" ", 1)[0].decode()
            found.append((os.fsdecode(path[len(top) - 1 :]), fstype, os.makedev(int(major), int(minor))))
    return found


def mount_of(fd: int) -> int:
    """An `O_PATH` descriptor of the top folder of the mount that a descriptor is in.

    Raises:
        Precondition: another mount covers that folder.
    """
    number = _mount_id(fd)
    points = [_unescaped(line.split(b" ", 5)[4]) for line in _lines() if line.startswith(number + b" ")]
    try:
        top = os.open(points[0], os.O_PATH | os.O_CLOEXEC) if points else -1
    except OSError as error:
        raise from_os_error(error, f"open the mount of {_name(fd)!r}") from error
    if top < 0 or _mount_id(top) != number:
        if top >= 0:
            os.close(top)
        raise Precondition(f"the mount that {_name(fd)!r} is in is covered by another one")
    return top


def peers(path: str) -> set[str]:
    """How the mount that a path is in propagates: `shared` and `master` (it is a slave), either, both or none.

    Raises:
        SampanError: the path cannot be looked at.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, f"look at the mount of {path!r}") from error
    try:
        number = _mount_id(fd)
    finally:
        os.close(fd)
    fields = next((line.split() for line in _lines() if line.startswith(number + b" ")), [])
    tags = fields[6 : fields.index(b"-")] if b"-" in fields else []
    return {tag.partition(b":")[0].decode() for tag in tags} & {"shared", "master"}


def _mount_id(fd: int) -> bytes:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        return next(line.split()[1] for line in file if line.startswith(b"mnt_id:"))


def _lines() -> list[bytes]:
    return read_file("/proc/self/mountinfo").splitlines()


def _unescaped(path: bytes) -> bytes:
    return path.decode("unicode_escape").encode("latin-1") if b"\\" in path else path


def _name(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")
