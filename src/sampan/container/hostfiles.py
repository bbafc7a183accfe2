"""The names that a Linux program expects in its root filesystem, where the image does not bring them.

A C library looks `localhost` up in /etc/hosts. What a spec binds there covers it; what an image has stays.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from sampan.core.errors import SampanError
from sampan.linux.paths import make_file_in_root

HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def give_names(root: int, hostname: str) -> None:
    """Writes /etc/hosts and /etc/hostname into a root filesystem, if they are missing or empty.

    Args:
        root: a descriptor of the root filesystem, the container's own to write.
    """
    for path, text in (("/etc/hosts", f"{HOSTS}127.0.0.1\t{hostname}\n"), ("/etc/hostname", f"{hostname}\n")):
        try:
            fd = make_file_in_root(root, path)
        except SampanError:  # the image has a folder or a dangling link there: its own business
            continue
        try:
            _fill(fd, text.encode())
        finally:
            os.close(fd)


def _fill(seen: int, data: bytes) -> None:
    found = os.fstat(seen)
    if not S_ISREG(found.st_mode) or found.st_size > 0:
        return
    fd = os.open(f"/proc/self/fd/{seen}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
