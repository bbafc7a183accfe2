"""What a folder of the image holds, copied to the tmpfs that will cover it: the mount option `tmpcopyup`.

Both sides are descriptors and every name is looked up inside them, for the image may be changed by a container
that shares it. Folders, files, links and FIFOs are copied with owner, mode and times; devices and sockets are
not: a guest has no use for them. What belongs to nobody in this user namespace becomes the caller's.
"""

from __future__ import annotations

import os
from errno import EINVAL
from stat import S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG

from sampan.core.errors import from_os_error
from sampan.linux import paths

_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_CHUNK = 1 << 24


def copy_up(source: int, target: int) -> None:
    """Copy all that the folder `source` holds into the empty folder `target`.

    Raises:
        Exhausted: it does not fit.
        Invalid: folders nested deeper than a path may be long.
    """
    folders = ["."]
    try:
        for path in folders:  # which grows: outer folders come before inner ones
            folders += [f"{path}/{name}" for name in _copy_folder(source, target, path)]
        for path in folders[1:]:  # a folder's time changes with what is made in it
            _copy_times(source, target, path)
    except OSError as error:
        raise from_os_error(error, "copy the image's files") from error


def _copy_folder(source: int, target: int, path: str) -> list[str]:
    """Copies one folder, not what its folders hold; the names of these."""
    above = below = -1
    try:
        above = paths.open_in_root(source, path, _READ_FOLDER)
        below = paths.open_in_root(target, path, _READ_FOLDER)
        return [name for name in os.listdir(above) if _copy(above, below, name)]
    finally:
        _close(above, below)


def _copy_times(source: int, target: int, path: str) -> None:
    above = below = -1
    try:
        above = paths.open_in_root(source, path, _READ_FOLDER)
        below = paths.open_in_root(target, path, _READ_FOLDER)
        found = os.fstat(above)
        os.utime(below, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        _close(above, below)


def _copy(above: int, below: int, name: str) -> bool:
    """Whether it is a folder."""
    found = os.lstat(name, dir_fd=above)
    kind = found.st_mode
    if S_ISDIR(kind):
        os.mkdir(name, 0o700, dir_fd=below)
    elif S_ISREG(kind):
        _copy_file(above, below, name)
    elif S_ISLNK(kind):
        os.symlink(os.readlink(name, dir_fd=above), name, dir_fd=below)
    elif S_ISFIFO(kind):
        os.mkfifo(name, 0o600, dir_fd=below)
    else:
        return False
    _give(below, name, found.st_uid, found.st_gid)
    if not S_ISLNK(kind):
        os.chmod(name, kind & 0o7777, dir_fd=below)  # after the owner, who would take the set-id bits away
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=below, follow_symlinks=False)
    return S_ISDIR(kind)


def _give(below: int, name: str, uid: int, gid: int) -> None:
    try:
        os.chown(name, uid, gid, dir_fd=below, follow_symlinks=False)
    except OSError as error:
        if error.errno != EINVAL:  # an owner that this user namespace has no number for
            raise


def _copy_file(above: int, below: int, name: str) -> None:
    reading = writing = -1
    try:
        reading = os.open(name, _READ_FILE, dir_fd=above)
        writing = os.open(name, _NEW_FILE, 0o600, dir_fd=below)
        while os.sendfile(writing, reading, None, _CHUNK):
            pass
    finally:
        _close(reading, writing)


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
