"""The /dev/shm that the Linux containers of a pod share: a tmpfs in the pod's folder, mounted at the first need."""

from __future__ import annotations

import os

from sampan.core.errors import from_os_error
from sampan.linux import mounts
from sampan.linux.mountoptions import NODEV, NOEXEC, NOSUID

NAME = "shm"
SIZE = 64 << 20


def hold(folder: str) -> str:
    """Mounts it in a pod's folder, once; where it is.

    Raises:
        SampanError: it cannot be mounted.
    """
    target = f"{folder}/{NAME}"
    try:
        os.makedirs(target, 0o711, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, "make a pod's shared memory") from error
    if not os.path.ismount(target):
        mounts.mount("shm", target, "tmpfs", NOSUID | NODEV | NOEXEC, f"mode=1777,size={SIZE}")
    return target


def release(folder: str) -> None:
    """Takes it away; none is fine.

    Raises:
        SampanError: it cannot be unmounted or removed.
    """
    target = f"{folder}/{NAME}"
    while os.path.ismount(target):
        mounts.unmount(target, detach=True)
    try:
        os.rmdir(target)
    except FileNotFoundError:
        return
    except OSError as error:
        raise from_os_error(error, "remove a pod's shared memory") from error
