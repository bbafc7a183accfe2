"""What hides things from a guest: empty files and folders of our own laid over them, and mounts made read-only.

Covers come from a tmpfs that is made here and seen by nobody, never from the image, whose /dev/null may be a link
to anything (CVE-2025-31133). What the kernel shows of processes and devices is found by its file systems, wherever
it was mounted. Which paths a spec wants hidden is the caller's business.
"""

from __future__ import annotations

import os
from stat import S_ISDIR

from sampan.core.errors import Invalid, NotFound, from_os_error
from sampan.linux import mountinfo, mounts, paths
from sampan.linux.mountoptions import NODEV, NOEXEC, NOSUID, PROPAGATION, RDONLY

_KERNEL_TYPES = (
    "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "securityfs", "debugfs", "tracefs", "bpf",
    "configfs", "pstore", "binfmt_misc", "nsfs", "efivarfs", "selinuxfs", "fusectl",
)  # fmt: skip
_KERNEL_MAGICS = (
    0x9FA0,  # proc
    0x62656572,  # sysfs
    0x1CD1,  # devpts
    0x19800202,  # mqueue
    0x27E0EB,  # cgroup
    0x63677270,  # cgroup2
    0x73636673,  # securityfs
    0x64626720,  # debugfs
    0x74726163,  # tracefs
    0xCAFE4A11,  # bpf
    0x62656570,  # configfs
    0x6165676C,  # pstore
    0x42494E4D,  # binfmt_misc
    0x6E736673,  # nsfs
    0xDE5E81E4,  # efivarfs
    0xF97CFF8C,  # selinuxfs
    0x65735543,  # fusectl
)


def is_kernels(source: int) -> bool:
    """Whether a descriptor is on proc, sysfs or another file system that shows the kernel's own things."""
    on_disk = os.major(os.fstat(source).st_dev) != 0
    return not on_disk and mountinfo.filesystem_of(source) in _KERNEL_MAGICS


def cover_kernel_mounts(root: int) -> None:
    """Cover what recursive binds, or the bundle's root itself, brought along of proc and its like.

    Raises:
        SampanError: a cover cannot be made.
    """
    targets: list[int] = []
    try:
        for path, fstype, device in mountinfo.below(root):
            target = existing(root, path) if fstype in _KERNEL_TYPES else -1
            if target >= 0 and os.fstat(target).st_dev == device:
                targets.append(target)
            else:  # it lies below another mount, where nobody sees it
                _close(target)
        for target in targets:  # or a shared bind of the host's root would cover the host's own
            mounts.change(target, propagation=PROPAGATION["private"])
        cover(root, targets)
    finally:
        _close(*targets)


def freeze(target: int) -> None:
    """Make what is at `target` read-only, with all that is mounted below it.

    Raises:
        SampanError: Denied.
    """
    try:
        mounts.change(target, RDONLY, recursive=True)
    except Invalid:  # it is not the top of a mount yet
        _freeze_copy(target)


def _freeze_copy(target: int) -> None:
    tree = mounts.clone(target, recursive=True)
    try:
        mounts.change(tree, RDONLY, recursive=True)
        mounts.attach(tree, target)
    finally:
        os.close(tree)


def existing(root: int, path: str) -> int:
    """An `O_PATH` descriptor of what is there; -1 for nothing.

    Raises:
        Invalid: it is the root itself; a loop of links.
    """
    try:
        target = paths.open_in_root(root, path, os.O_PATH)
    except NotFound:
        return -1
    if os.path.samestat(os.fstat(target), os.fstat(root)):
        os.close(target)
        raise Invalid(f"{path!r} is the root filesystem itself and cannot be hidden", fix="set root.readonly")
    return target


def cover(root: int, targets: list[int]) -> None:
    """Lay an empty folder or file of our own over each, read-only.

    Args:
        root: the container's; the covers' own file system lies on it meanwhile: only what is attached can be bound.

    Raises:
        SampanError: a cover cannot be made.
    """
    if not targets:
        return
    blank = mounts.create("tmpfs", "tmpfs", ["size=4k", "nr_inodes=4", "mode=755"])
    folder = file = -1
    try:
        os.mkdir("folder", 0o555, dir_fd=blank)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=blank))
        folder, file = (os.open(n, os.O_PATH | os.O_CLOEXEC, dir_fd=blank) for n in ("folder", "file"))
        mounts.change(blank, RDONLY | NOSUID | NODEV | NOEXEC)
        mounts.attach(blank, root)
        try:
            for target in targets:
                _lay(folder if S_ISDIR(os.fstat(target).st_mode) else file, target)
        finally:
            mounts.unmount(blank, detach=True)
    except OSError as error:
        raise from_os_error(error, "make something empty to cover paths with") from error
    finally:
        _close(blank, folder, file)


def _lay(cover: int, target: int) -> None:
    tree = mounts.clone(cover)
    try:
        mounts.attach(tree, target)
    finally:
        os.close(tree)


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
