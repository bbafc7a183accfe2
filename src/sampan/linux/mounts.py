"""Mounts on descriptors: what was checked is what is mounted, whoever renames meanwhile. open_tree(2)

A place is a path of ours, or a descriptor that `paths` opened in a stranger's root. What is mounted is made
detached (`clone`, `create`), given its attributes (`change`), and only then attached, so it is never seen
writable. Deciding what to mount is not done here.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ELOOP, ENODEV, ENOSYS, ENOTBLK, ENOTDIR

from sampan.core.errors import Invalid, Precondition, SampanError, Unimplemented, from_os_error
from sampan.linux import mountinfo, syscalls

RDONLY = 1
NOSUID = 2
NODEV = 4
NOEXEC = 8
_REMOUNT = 0x20
_BIND = 0x1000
_REC = 0x4000
_PRIVATE = 1 << 18
_NOATIME = 1024
_FLAGS = {"rw": 0, "ro": RDONLY, "nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC}
_DETACH = 2
_NOFOLLOW = 8  # UMOUNT_NOFOLLOW
_CLONE = 1  # OPEN_TREE_CLONE
_EMPTY_PATH = 0x1000  # AT_EMPTY_PATH
_RECURSIVE = 0x8000  # AT_RECURSIVE
_MOVE_EMPTY_PATHS = 0x04 | 0x40  # MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6  # FSCONFIG_
_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
_MAX_VALUE = 255  # bytes of an option's value that fsconfig(2) takes


def mount(source: str, target: str | int, fstype: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system (`tmpfs`, `proc`, ...).

    Args:
        target: a path of ours, or a descriptor.
        flags: RDONLY, NOSUID, NODEV, NOEXEC.
        options: the file system's own, and `ro`, `nosuid`, `nodev`, `noexec`; comma between them.

    Raises:
        Unimplemented: the kernel does not have `fstype`.
        Invalid: options that it does not know; a target that is no folder.
        SampanError: Denied, NotFound, ...
    """
    own = []
    for option in options.split(","):
        if option in _FLAGS:
            flags |= _FLAGS[option]
        else:
            own.append(option)
    _mount(source, place(target), fstype, flags, ",".join(own))


def bind(
    source: str | int, target: str | int, read_only: bool = False, recursive: bool = True, flags: int = 0
) -> None:
    """Show `source` (a folder, or a file on a file) at `target`, too.

    Args:
        read_only: for everything below, too, if `recursive`.
        flags: NOSUID, NODEV, NOEXEC.

    Raises:
        Invalid: a folder on a file or the other way.
        SampanError: Denied, NotFound, ...
    """
    flags |= RDONLY if read_only else 0
    deep = _RECURSIVE if recursive else 0
    what = f"bind {source!r} on {target!r}"
    source_fd = target_fd = tree = -1
    try:
        source_fd = os.open(place(source), os.O_PATH | os.O_CLOEXEC)
        target_fd = os.open(place(target), os.O_PATH | os.O_CLOEXEC)
        tree = syscalls.call("open_tree", source_fd, b"", _CLONE | _EMPTY_PATH | os.O_CLOEXEC | deep)
        prepared = not flags or _set_attributes(tree, flags, deep)
        syscalls.call("move_mount", tree, b"", target_fd, b"", _MOVE_EMPTY_PATHS)
        if not prepared:
            _remount(tree, flags, recursive)
    except OSError as error:
        raise _refusal(error, what) from error
    finally:
        for fd in (source_fd, target_fd, tree):
            if fd >= 0:
                os.close(fd)


def clone(source: int, recursive: bool = False) -> int:
    """A detached copy of the mount at `source`, from there down, as a descriptor; nobody sees it yet.

    Raises:
        SampanError: Denied; Invalid for a mount that may not be bound.
    """
    deep = _RECURSIVE if recursive else 0
    try:
        return syscalls.call("open_tree", source, b"", _CLONE | _EMPTY_PATH | os.O_CLOEXEC | deep)
    except OSError as error:
        if error.errno == EINVAL and not recursive:
            raise Invalid(
                f"cannot bind {_name(source)!r} alone: it is unbindable, or covered in part by mounts that stay",
                fix="bind what is mounted below it, too (rbind)",
            ) from error
        raise _refusal(error, f"bind {_name(source)!r}") from error


def create(fstype: str, source: str, options: list[str], attributes: int = 0) -> int:
    """A detached mount of a new file system, as a descriptor that files can be made through.

    Args:
        source: what the file system calls it: a device, or any word.
        options: the file system's own, `key` or `key=value`.
        attributes: MOUNT_ATTR_ bits (`mountoptions`).

    Raises:
        Unimplemented: the kernel does not have `fstype`.
        Invalid: options that it does not know.
        SampanError: Denied, NotFound (a device), ...
    """
    doing = f"make a {fstype} file system"
    context = -1
    try:
        context = syscalls.call("fsopen", _text(fstype), _CLOEXEC)
        for option in (f"source={source or 'none'}", *options):
            doing = f"make a {fstype} file system with {option!r}"
            key, equals, value = _text(option).partition(b"=")
            if len(value) > _MAX_VALUE:
                raise Invalid(f"cannot {doing}: the value is longer than {_MAX_VALUE} bytes")
            kind = _SET_STRING if equals else _SET_FLAG
            syscalls.call("fsconfig", context, kind, key, value if equals else None, 0)
        doing = f"make a {fstype} file system"
        syscalls.call("fsconfig", context, _CREATE, None, None, 0, slow=True)
        return syscalls.call("fsmount", context, _CLOEXEC, attributes)
    except OSError as error:
        refusal = _refusal(error, doing)
        said = _complaint(context)
        raise type(refusal)(f"{refusal.message} ({said})" if said else refusal.message) from error
    finally:
        if context >= 0:
            os.close(context)


def _complaint(context: int) -> str:
    """What the file system said about its options, if anything."""
    try:
        return os.fsdecode(os.read(context, 512)).strip().removeprefix("e ")
    except OSError:
        return ""


def change(
    mount: int, setting: int = 0, clearing: int = 0, recursive: bool = False, propagation: int = 0
) -> None:
    """Change the attributes of a mount, detached or not, given its top folder; also its propagation.

    Args:
        setting, clearing: MOUNT_ATTR_ bits (`mountoptions`); cleared first. recursive: those below it, too.
        propagation: MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, or 0 for as it is.

    Raises:
        Invalid: it is no mount. Denied: an attribute that may not be cleared in a user namespace.
        Unimplemented: Linux before 5.12.
    """
    attributes = b"".join(value.to_bytes(8, "little") for value in (setting, clearing, propagation, 0))
    deep = _RECURSIVE if recursive else 0
    try:
        syscalls.call("mount_setattr", mount, b"", _EMPTY_PATH | deep, attributes, len(attributes))
    except OSError as error:
        raise _refusal(error, f"change the mount {_name(mount)!r}") from error


def attach(mount: int, target: int) -> None:
    """Put a detached mount on `target`; from then on its descriptor is that of the attached one.

    Raises:
        Invalid: a folder on a file or the other way.
        SampanError: Denied, ...
    """
    try:
        syscalls.call("move_mount", mount, b"", target, b"", _MOVE_EMPTY_PATHS)
    except OSError as error:
        raise _refusal(error, f"mount on {_name(target)!r}") from error


def set_propagation(propagation: int) -> None:
    """Change how this mount namespace passes mounts on: MS_ flags for `/`, with MS_REC for all below.

    Raises:
        SampanError: Denied.
    """
    _mount("", "/", "", propagation, "")


def _name(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"descriptor {fd}"


def _text(text: str) -> bytes:
    if "\0" in text:
        raise Invalid(f"{text!r} has a NUL in it")
    return os.fsencode(text)


def _set_attributes(tree: int, flags: int, deep: int) -> bool:
    """Give the clone its flags before anybody can see it; false on a kernel that cannot (before 5.12)."""
    attributes = b"".join(value.to_bytes(8, "little") for value in (flags, 0, 0, 0))
    try:
        syscalls.call("mount_setattr", tree, b"", _EMPTY_PATH | deep, attributes, len(attributes))
    except OSError as error:
        if error.errno == ENOSYS:
            return False
        raise
    return True


def _remount(tree: int, flags: int, recursive: bool) -> None:
    """Add the flags to the attached mount, and to those below it, one by one."""
    top = os.readlink(f"/proc/self/fd/{tree}")
    inner = [path for path in mountinfo.points() if path.startswith(f"{top}/")] if recursive else []
    for path in (f"/proc/self/fd/{tree}", *inner):
        _mount("", path, "", _REMOUNT | _BIND | flags | _present_flags(path), "")


def _present_flags(path: str) -> int:
    """The flags that a mount has: a remount may add to them, and in a user namespace must not clear them."""
    return os.statvfs(path).f_flag & (RDONLY | NOSUID | NODEV | NOEXEC | _NOATIME)


def overlay(target: str | int, lower: list[str], upper: str | int, work: str | int, userns: bool) -> None:
    """Show the folders in `lower` (the top one first) with the changes in `upper`, which takes all writes.

    Args:
        work: an empty folder on the file system of `upper`.
        userns: made in a user namespace: overlay keeps its notes under names that a user may write.

    Raises:
        SampanError: as `mount`.
    """
    lowest = ":".join(_escaped(folder) for folder in lower)
    options = f"lowerdir={lowest},upperdir={_escaped(upper)},workdir={_escaped(work)}"
    options += ",userxattr" if userns else ""
    _mount("overlay", place(target), "overlay", NODEV | NOSUID, options)


def _escaped(folder: str | int) -> str:
    text = place(folder).replace("\\", "\\\\")
    return text.replace(":", "\\:").replace(",", "\\,")


def make_read_only(target: str | int) -> None:
    """Make the mount whose top folder `target` is read-only; mounts below it stay as they are.

    Raises:
        SampanError: Invalid where nothing is mounted; Denied.
    """
    fd = -1
    try:
        fd = os.open(place(target), os.O_PATH | os.O_CLOEXEC)
        if not _set_attributes(fd, RDONLY, 0):
            _remount(fd, RDONLY, recursive=False)
    except OSError as error:
        raise _refusal(error, f"make {target!r} read-only") from error
    finally:
        if fd >= 0:
            os.close(fd)


def make_private() -> None:
    """No mount of this mount namespace is seen outside, and none from outside here."""
    _mount("", "/", "", _REC | _PRIVATE, "")


def pivot_root(new_root: str | int = ".") -> None:
    """Make `new_root`, which must be a mount, the root; the old one is gone, and we are in `/`.

    Raises:
        Invalid: it is not a mount.
    """
    try:
        fd = os.open(place(new_root), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchdir(fd)
        finally:
            os.close(fd)
        syscalls.call("pivot_root", b".", b".")  # the old root lies on top of the new one now
        syscalls.call("umount2", b".", _DETACH)
        os.chdir("/")
    except OSError as error:
        if error.errno in (EBUSY, EINVAL):
            raise Invalid(f"cannot make {new_root!r} the root: it is not a mount") from error
        raise _refusal(error, f"make {new_root!r} the root") from error


def unmount(path: str | int, detach: bool = False) -> None:
    """Unmount; never through a link.

    Args:
        path: of the top folder of a mount, or a descriptor of it.
        detach: take it out of the tree now, let go of it when nobody uses it any more.

    Raises:
        Precondition: it is in use; or nothing is mounted there.
    """
    try:
        follow = 0 if isinstance(path, int) else _NOFOLLOW
        syscalls.call("umount2", os.fsencode(place(path)), follow | (_DETACH if detach else 0), slow=True)
    except OSError as error:
        if error.errno == EINVAL:
            raise Precondition(f"nothing is mounted on {path!r}") from error
        raise _refusal(error, f"unmount {path!r}") from error


def place(where: str | int) -> str:
    """The path that names a place: a descriptor by its entry in /proc."""
    if isinstance(where, int):
        return f"/proc/self/fd/{where}"
    if "\0" in where:
        raise Invalid(f"{where!r} is not a file name")
    return where


def _mount(source: str, target: str, fstype: str, flags: int, options: str) -> None:
    texts = [os.fsencode(text) for text in (source, target, fstype, options)]
    if any(b"\0" in text for text in texts):
        raise Invalid(f"cannot mount on {target!r}: there is a NUL in the text")
    try:
        syscalls.call("mount", texts[0], texts[1], texts[2], flags, texts[3])
    except OSError as error:
        raise _refusal(error, f"mount {fstype or source} on {target!r}") from error


def _refusal(error: OSError, doing: str) -> SampanError:
    if error.errno == EBUSY:
        return Precondition(f"cannot {doing}: it is in use")
    if error.errno in (ENODEV, ENOSYS):
        return Unimplemented(f"cannot {doing}: the kernel does not have it")
    if error.errno in (EINVAL, ENOTDIR, ELOOP, ENOTBLK):
        return Invalid(f"cannot {doing}: {error.strerror}")
    return from_os_error(error, doing)
