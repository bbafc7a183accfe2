"""What the kernel mounts for a container: its root filesystem and what the spec puts on it. OCI config.md, "Mounts"

All places in the root are resolved by `linux.paths` and used by descriptor, so that no link of an image, and
nobody who shares its files, can send a mount elsewhere. proc, sysfs, devices and all that the spec mounts at or
below /proc, /sys and /dev are not made (but for one file, `TERMINATION_LOG`), and what a bind brings along of them is
covered: a guest that reaches `/proc/self/mem` rewrites its host process. Every mount is nosuid and nodev. The caller is
in a mount namespace of its own.
"""

from __future__ import annotations

import os
from errno import ENOENT, ENOTDIR
from stat import S_ISDIR, S_ISREG

from sampan.container import covers
from sampan.container.copyup import copy_up
from sampan.core.errors import Invalid, NotFound, SampanError, Unimplemented, from_os_error
from sampan.core.spec.runtime import Mount
from sampan.linux import mountinfo, mountoptions, mounts, paths
from sampan.linux.mountoptions import NODEV, NOSUID, PROPAGATION, RECURSIVE, MountOptions

MAX_MOUNTS = 4096
HIDDEN = ("/proc", "/sys", "/dev")
TERMINATION_LOG = "/dev/termination-log"
"""Where Kubernetes lets a container write its last words: a file, and the one thing below /dev that a guest gets."""
_HIDDEN_TOPS = tuple(f"{top}/" for top in HIDDEN)
HIDDEN_TYPES = ("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs")
_FORCED = NOSUID | NODEV


def prepare(path: str, propagation: str = "") -> int:
    """Make the folder a mount of its own, which `pivot_root` needs; a link to it is followed once.

    Args:
        path: on the host. propagation: the spec's `rootfsPropagation`; with `shared`, what is mounted below a shared
            bind is seen on the host, else nothing is. `propagate` completes it after pivot_root.

    Returns:
        An `O_PATH` descriptor of the mount.

    Raises:
        NotFound, Invalid: there is no such folder, or no such propagation.
    """
    try:
        folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _no_root(error, path) from error
    root = -1
    try:
        seclude(folder, propagation or "rslave")
        root = mounts.clone(folder, recursive=True)
        mounts.change(root, _FORCED, recursive=True, propagation=PROPAGATION["private"])
        mounts.attach(root, folder)
    except SampanError:
        if root >= 0:
            os.close(root)
        raise
    finally:
        os.close(folder)
    return root


def seclude(folder: int, propagation: str) -> None:
    """Keeps what will be mounted on a folder from the host, and lets through what the spec's propagation does.

    Raises:
        Invalid: there is no such propagation.
    """
    flags = _propagation(propagation)
    if flags & PROPAGATION["shared"]:
        mounts.set_propagation(flags)
        _make_private(folder)
    else:
        mounts.set_propagation(PROPAGATION["rslave"])


def _no_root(error: OSError | ValueError, path: str) -> SampanError:
    fix = "give the root filesystem's folder as root.path in config.json"
    if isinstance(error, ValueError):
        return Invalid(f"the root filesystem {path!r} is not a file name", fix=fix)
    if error.errno == ENOENT:
        return NotFound(f"the root filesystem {path!r} is not there", fix=fix)
    if error.errno == ENOTDIR:
        return Invalid(f"the root filesystem {path!r} is not a folder", fix=fix)
    return from_os_error(error, "open the root filesystem")


def _make_private(folder: int) -> None:
    """Keeps the mount that a folder is in from passing on to the host what is mounted on it here.

    As with runc, a volume in that same mount is not shared then either.
    """
    top = mountinfo.mount_of(folder)
    try:
        mounts.change(top, propagation=PROPAGATION["private"])
    finally:
        os.close(top)


def _propagation(word: str) -> int:
    if word and word not in PROPAGATION:
        raise Invalid(
            f"linux.rootfsPropagation cannot be {word!r}", fix=f"use one of {', '.join(PROPAGATION)}"
        )
    return PROPAGATION.get(word, 0)


def propagate(root: int, propagation: str) -> None:
    """Give the root its `rootfsPropagation`; after pivot_root, which a shared mount would refuse.

    Raises:
        Invalid: there is no such propagation.
    """
    flags = _propagation(propagation)
    if flags:
        mounts.change(root, propagation=flags & ~RECURSIVE, recursive=bool(flags & RECURSIVE))


def check(wanted: list[Mount]) -> list[tuple[str, Mount, MountOptions]]:
    """The mounts that are to be made, in order, each with its destination in the root and its options, read.

    Raises:
        Invalid: too many of them; a destination that is the root itself, or none; a mount of no type.
        Unimplemented: a mount with a mapping of ids.
    """
    if len(wanted) > MAX_MOUNTS:
        raise Invalid(f"there are {len(wanted)} mounts, more than {MAX_MOUNTS}")
    plan = []
    for mount in wanted:
        destination = _cleaned(mount.destination)
        try:
            options = mountoptions.parse(mount.options)
            _check_mount(mount, destination, options)
        except SampanError as error:
            raise _named(error, mount) from error
        bound = options.bind or mount.type == "bind"
        if not _lies_hidden(destination) and (bound or mount.type not in HIDDEN_TYPES):
            plan.append((destination, mount, options))
    return plan


def _check_mount(mount: Mount, destination: str, options: MountOptions) -> None:
    if not mount.destination or destination == "/":
        raise Invalid("the destination is the root filesystem itself", fix="mount on a folder in it")
    if not (mount.type or options.bind or options.remount):
        raise Invalid("it has no type", fix="give a type, or the option bind or rbind")
    if options.copy_up and mount.type != "tmpfs":
        raise Invalid("tmpcopyup is for a tmpfs", fix="take the option out")
    if options.remount and options.data:
        raise Unimplemented(f"a remount cannot change {options.data[0]!r}, only flags of the mount")
    if mount.unknown.get("uidMappings") or mount.unknown.get("gidMappings"):
        raise Unimplemented(
            "a mapping of its ids is not to be had", fix="give the files to the container's user"
        )


def mount_all(root: int, wanted: list[Mount], *, bundle: str = "/") -> None:
    """Make the spec's mounts in the root, in order; nothing is made if one of them cannot be right.

    Args:
        bundle: the folder that relative sources of binds are in.

    Raises:
        SampanError: names the mount that cannot be made.
    """
    for destination, mount, options in check(wanted):
        try:
            if options.remount:
                _remount(root, destination, options)
            elif options.bind or mount.type == "bind":
                _bind(root, destination, mount, options, bundle)
            else:
                _mount_new(root, destination, mount, options)
        except SampanError as error:
            raise _named(error, mount) from error
    covers.cover_kernel_mounts(root)


def _named(error: SampanError, mount: Mount) -> SampanError:
    what = mount.source or mount.type or "a mount"
    return type(error)(f"cannot mount {what} at {mount.destination!r}: {error.message}", fix=error.fix)


def _cleaned(destination: str) -> str:
    return "/" + os.path.normpath(f"/{destination}").lstrip("/")


def is_hidden(destination: str) -> bool:
    """Whether a place in the root lies where a guest could reach its host process or a device."""
    return _lies_hidden(_cleaned(destination))


def _lies_hidden(cleaned: str) -> bool:
    return f"{cleaned}/".startswith(_HIDDEN_TOPS) and cleaned != TERMINATION_LOG


def _bind(root: int, destination: str, mount: Mount, options: MountOptions, bundle: str) -> None:
    source = tree = -1
    try:
        source = _open_source(mount.source, bundle)
        found = os.fstat(source)
        if covers.is_kernels(source) or (destination == TERMINATION_LOG and not S_ISREG(found.st_mode)):
            return
        tree = mounts.clone(source, options.recursive)
        _place(tree, root, destination, options, folder=S_ISDIR(found.st_mode))
    finally:
        _close(source, tree)


def _open_source(source: str, bundle: str) -> int:
    if not source:
        raise Invalid("a bind has no source")
    try:
        return os.open(os.path.join(bundle, source), os.O_PATH | os.O_CLOEXEC)
    except ValueError as error:
        raise Invalid(f"the source {source!r} is not a file name") from error
    except OSError as error:
        raise from_os_error(error, "open the source") from error


def _mount_new(root: int, destination: str, mount: Mount, options: MountOptions) -> None:
    tree = -1
    try:
        if mount.type == "tmpfs":
            tree = _tmpfs(root, destination, options)
        else:
            read_only = ["ro"] if options.read_only else []  # a disk that cannot be written must not be tried
            tree = mounts.create(mount.type, mount.source, [*read_only, *_split(options.data)])
        _place(tree, root, destination, options, folder=True)
    finally:
        _close(tree)


def _tmpfs(root: int, destination: str, options: MountOptions) -> int:
    """A tmpfs with the mode, and with `tmpcopyup` the files, of the folder that it covers."""
    try:
        covered = paths.open_in_root(root, destination, os.O_PATH | os.O_DIRECTORY)
    except NotFound:
        return mounts.create("tmpfs", "tmpfs", _split(options.data))
    tree = -1
    try:
        mode = f"mode={os.fstat(covered).st_mode & 0o7777:o}"
        tree = mounts.create("tmpfs", "tmpfs", [mode, *_split(options.data)])
        if options.copy_up:
            copy_up(covered, tree)
    except SampanError:
        _close(tree)
        raise
    finally:
        os.close(covered)
    return tree


def _split(data: list[str]) -> list[str]:
    """One option each; a word may hold several, as in the text that mount(2) takes."""
    return [option for word in data for option in word.split(",") if option]


def _place(tree: int, root: int, destination: str, options: MountOptions, folder: bool) -> None:
    """Gives a detached mount its attributes and puts it where it belongs."""
    if options.set or options.clear:
        mounts.change(tree, options.set, options.clear & ~_FORCED)
    mounts.change(tree, options.recursive_set | _FORCED, options.recursive_clear & ~_FORCED, recursive=True)
    target = (paths.make_dirs_in_root if folder else paths.make_file_in_root)(root, destination)
    try:
        found = os.fstat(target)
        if os.path.samestat(found, os.fstat(root)):
            raise Invalid("it leads to the root filesystem itself")
        if S_ISDIR(found.st_mode) and not folder:
            raise Invalid("a file cannot be mounted on a folder")
        mounts.attach(tree, target)
    finally:
        os.close(target)
    for flags in options.propagation:
        mounts.change(tree, propagation=flags & ~RECURSIVE, recursive=bool(flags & RECURSIVE))


def _remount(root: int, destination: str, options: MountOptions) -> None:
    target = paths.open_in_root(root, destination, os.O_PATH)
    try:
        mounts.change(target, options.set, options.clear & ~_FORCED)
        mounts.change(target, options.recursive_set, options.recursive_clear & ~_FORCED, recursive=True)
    finally:
        os.close(target)


def hide(root: int, masked: list[str], readonly: list[str]) -> None:
    """Cover the spec's `maskedPaths` and make its `readonlyPaths` read-only; what is not there is skipped.

    Raises:
        Invalid: the root itself; a loop of links.
        SampanError: a mount cannot be made; nothing is left half hidden unsaid.
    """
    targets: list[int] = []
    try:
        for path in readonly:
            target = -1 if is_hidden(path) else covers.existing(root, path)
            if target >= 0:
                targets.append(target)
                covers.freeze(target)
        covering = len(targets)
        for path in masked:
            target = -1 if is_hidden(path) else covers.existing(root, path)
            if target >= 0:
                targets.append(target)
        covers.cover(root, targets[covering:])
    finally:
        _close(*targets)


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
