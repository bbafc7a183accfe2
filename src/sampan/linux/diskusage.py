"""What a folder takes of the disk, as `du` counts: blocks, hard links once, links not followed, mounts left out."""

from __future__ import annotations

import os

from sampan.core.errors import SampanError, from_os_error
from sampan.core.record import Record
from sampan.linux.paths import open_in_root

BLOCK = 512
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class DiskUsage(Record):
    """Bytes on the disk, and how many files and folders there are."""

    bytes: int = 0
    inodes: int = 0


def disk_usage(folder: str) -> DiskUsage:
    """What everything in a folder takes; what vanishes meanwhile, or may not be read, is left out.

    A stranger may write in it at the same time: no folder is entered but below this one.

    Raises:
        SampanError: the folder itself cannot be opened.
    """
    try:
        top = os.open(folder, _FOLDER | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, f"look into {folder!r}") from error
    try:
        return _count(top)
    finally:
        os.close(top)


def bytes_in(folder: str) -> int:
    """The bytes of `disk_usage`; 0 for a folder that is not there or may not be read. It may be behind a link."""
    try:
        return disk_usage(os.path.realpath(folder)).bytes
    except SampanError:
        return 0


def _count(top: int) -> DiskUsage:
    usage = DiskUsage()
    device = os.fstat(top).st_dev
    linked: set[int] = set()
    left = ["."]
    while left:
        folder = left.pop()
        try:
            fd = open_in_root(top, folder, _FOLDER)
        except SampanError:
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    try:
                        state = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if state.st_dev != device or state.st_ino in linked:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        left.append(f"{folder}/{entry.name}")
                    elif state.st_nlink > 1:
                        linked.add(state.st_ino)
                    usage.bytes += state.st_blocks * BLOCK
                    usage.inodes += 1
        except OSError:
            pass
        finally:
            os.close(fd)
    return usage
