"""The root filesystem that containerd prepared: its mounts are made on the bundle's `rootfs`, and taken away again.

They are made in the server's mount namespace, which is containerd's, as its other shims do it: hooks and the runtime
for Linux containers look for them there.
"""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, Precondition, SampanError, from_os_error
from sampan.linux import mountoptions, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.shim.messages import Mount

NAME = "rootfs"
MOST_DATA = 4000  # of the kernel's one page
_SIMPLE = mountoptions.RDONLY | mountoptions.NOSUID | mountoptions.NODEV | mountoptions.NOEXEC


def make(bundle: str, wanted: list[Mount]) -> None:
    """Makes the mounts, in order, one on top of the other; all of them or none.

    Raises:
        SampanError: names the one that cannot be made.
    """
    target = f"{bundle}/{NAME}"
    if wanted:
        try:
            os.makedirs(target, 0o711, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, "make the folder of the root filesystem") from error
    try:
        for mount in wanted:
            _make(mount, target)
    except SampanError:
        remove(bundle)
        raise


def _make(mount: Mount, target: str) -> None:
    options = mountoptions.parse(mount.options)
    if options.remount:
        raise Invalid("the root filesystem cannot be a remount")
    if options.bind or mount.type == "bind":
        _bind(mount.source, target, options)
        return
    data = ",".join(options.data)
    if options.set & ~_SIMPLE == 0 and len(data) <= MOST_DATA:
        mounts.mount(mount.source, target, mount.type, options.set, data)
    elif mount.type == "overlay":
        _overlay_of_many(mount.source, target, options)
    else:
        tree = mounts.create(mount.type, mount.source, options.data, options.set)
        _attach(tree, target)


def _bind(source: str, target: str, options: mountoptions.MountOptions) -> None:
    try:
        fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise from_os_error(error, f"bind {source}") from error
        raise Invalid(f"{source[:60]!r} is not a file name") from error
    try:
        tree = mounts.clone(fd, options.recursive)
    finally:
        os.close(fd)
    if options.set or options.clear:
        mounts.change(tree, options.set, options.clear)
    _attach(tree, target)


def _attach(tree: int, target: str) -> None:
    place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts.attach(tree, place)
    finally:
        os.close(place)
        os.close(tree)


def _overlay_of_many(source: str, target: str, options: mountoptions.MountOptions) -> None:
    """An overlay of so many layers that their paths do not fit: they are named from the folder that they share.

    Raises:
        Invalid: they do not fit then either.
    """
    lower = next((word[len("lowerdir=") :] for word in options.data if word.startswith("lowerdir=")), "")
    layers = lower.split(":")
    common = os.path.commonpath(layers) if all(layer.startswith("/") for layer in layers) else ""
    short = "lowerdir=" + ":".join(layer[len(common) :].lstrip("/") or "." for layer in layers)
    data = ",".join(short if word.startswith("lowerdir=") else word for word in options.data)
    if not common or len(data) > MOST_DATA:
        raise Invalid(f"the root filesystem has {len(layers)} layers, more than one mount can take")
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.chdir(common)
        except OSError as error:
            raise from_os_error(error, "go to the folder of the layers") from error
        mounts.mount(source, target, "overlay", options.set & _SIMPLE, data)
    finally:
        os.fchdir(before)
        os.close(before)


def remove(bundle: str) -> None:
    """Takes all mounts off the bundle's `rootfs`; none there is fine."""
    while True:
        try:
            mounts.unmount(f"{bundle}/{NAME}", detach=True)
        except Precondition:
            return
        except SampanError:  # the folder is gone
            return
