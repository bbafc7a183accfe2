"""The second wall: what stands between a workload and the host on the day the engine does not.

`build` makes the mount namespace with the workload's root filesystem in it; between `build` and `jail` the process
loads the workload; `jail` then gives everything up. Each wall has a name; one that cannot be built is an error
for a strict container unless it is waived by that name, and else a sentence in `missing`.
"""

from __future__ import annotations

import os

from sampan.core.errors import Denied, Exists, SampanError, Unimplemented, from_os_error
from sampan.core.spec.runtime import Mount, Process, Resources, Spec, User
from sampan.engine.grants import Preopen
from sampan.linux import landlock, mounts, namespaces, paths, privileges, seccomp
from sampan.linux.cgroups import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Container

NAMESPACE, CGROUP, LANDLOCK, SECCOMP = "namespace", "cgroup", "landlock", "seccomp"
WALLS = (NAMESPACE, CGROUP, LANDLOCK, SECCOMP)
HIDDEN = ("/proc", "/sys", "/dev")
HIDDEN_TYPES = ("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs")
USABLE_CAPABILITIES = ("CAP_NET_BIND_SERVICE", "CAP_DAC_OVERRIDE", "CAP_FOWNER")
PREOPENS = "/.preopens"


class World:
    """The root filesystem as the workload will see it.

    Attributes:
        root: a descriptor of it. private: whether it is in a mount namespace of its own.
        joined: whether that namespace was there before this process.
        preopens: what the workload is given, as paths inside the jail. missing: walls that could not be had.
    """

    def __init__(self, container: Container, spec: Spec) -> None:
        self.container = container
        self.spec = spec
        self.root = -1
        self.private = False
        self.joined = False
        self.preopens: list[Preopen] = []
        self.missing: list[str] = []
        self.absent: set[str] = set()

    def lack(self, wall: str, error: SampanError) -> None:
        """Takes note of a wall that cannot be built.

        Raises:
            Denied: the container is strict and does not waive this wall.
        """
        if self.container.strict and wall not in self.container.waived:
            raise Denied(
                f"the {wall} wall cannot be built: {error.message}", fix=f"or waive it: --waive {wall}"
            )
        self.absent.add(wall)
        self.missing.append(f"no {wall} ({error.message})")


def build(folder: str, container: Container, spec: Spec) -> World:
    """The world of a new run, in namespaces that this process enters.

    Args:
        folder: the container's, with `upper`, `work` and `rootfs` in it.

    Raises:
        SampanError: a mount cannot be made, or a wall of a strict container cannot be built.
    """
    world = World(container, spec)
    try:
        _enter_namespaces()
        world.private = True
    except SampanError as error:
        world.lack(NAMESPACE, error)
    if world.private:
        _mount_root(world, folder)
    else:
        _use_host_paths(world, folder)
    _probe(world)
    return world


def join(container: Container, spec: Spec, root: int, *, private: bool) -> World:
    """The world of a running container, for another process of it that enters its namespaces.

    Args:
        root: a descriptor of its root filesystem. private: whether it has a mount namespace of its own.
    """
    world = World(container, spec)
    world.root = root
    world.private, world.joined = private, True
    if private:
        world.preopens = _private_preopens(world)
    else:
        _use_host_paths(world, "")
    _probe(world)
    return world


def _probe(world: World) -> None:
    """Finds out before the jail what the kernel does not have, so that it can still be told."""
    if landlock.abi() == 0:
        world.lack(LANDLOCK, Unimplemented("the kernel has no Landlock"))
    if not seccomp.is_available():
        world.lack(SECCOMP, Unimplemented("the kernel has no seccomp filters"))


def _enter_namespaces() -> None:
    if os.geteuid() == 0:
        namespaces.unshare(namespaces.NEWNS | namespaces.NEWIPC)
    else:
        uid, gid = os.geteuid(), os.getegid()
        namespaces.unshare(namespaces.NEWUSER | namespaces.NEWNS | namespaces.NEWIPC)
        namespaces.map_user(uid, gid)
    mounts.make_private()


def _mount_root(world: World, folder: str) -> None:
    container, spec = world.container, world.spec
    target = f"{folder}/rootfs"
    if container.lower:
        rootless = os.geteuid() != 0
        mounts.overlay(target, [container.lower], f"{folder}/upper", f"{folder}/work", userns=rootless)
    else:
        mounts.bind(f"{folder}/upper", target, recursive=False)
    world.root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for mount in spec.mounts:
        _mount(world, mount)
    for number, preopen in enumerate(container.preopens):
        options = ["bind", "ro"] if preopen.read_only else ["bind"]
        _mount(world, Mount(f"{PREOPENS}/{number}", "bind", preopen.host, options))
    if _is_read_only(spec):
        mounts.make_read_only(world.root)
    world.preopens = _private_preopens(world)


def _is_read_only(spec: Spec) -> bool:
    return spec.root is not None and spec.root.readonly


def _private_preopens(world: World) -> list[Preopen]:
    """`/` where there is anything in it, and each folder that was asked for under a name of its own."""
    container, spec = world.container, world.spec
    preopens = [Preopen(f"{PREOPENS}/{n}", p.guest, p.read_only) for n, p in enumerate(container.preopens)]
    if container.lower or any(not m.destination.startswith("/etc/") for m in spec.mounts):
        preopens.insert(0, Preopen("/", "/", _is_read_only(spec)))
    return preopens


def _mount(world: World, mount: Mount) -> None:
    """One mount of the spec, made through a descriptor of its target so that no link can redirect it."""
    if mount.type in HIDDEN_TYPES or is_hidden(mount.destination):
        return
    if mount.type == "tmpfs":
        target = paths.make_dirs_in_root(world.root, mount.destination)
        try:
            mounts.mount("tmpfs", target, "tmpfs", mounts.NOSUID | mounts.NODEV, ",".join(mount.options))
        finally:
            os.close(target)
        return
    try:
        source = os.open(mount.source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, f"mount {mount.source} at {mount.destination}") from error
    try:
        if os.path.isdir(f"/proc/self/fd/{source}"):
            target = paths.make_dirs_in_root(world.root, mount.destination)
        else:
            target = _make_file_in_root(world.root, mount.destination)
        try:
            mounts.bind(source, target, read_only=mount.read_only, recursive="rbind" in mount.options)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _make_file_in_root(root: int, path: str) -> int:
    """A descriptor of the file at `path`, made empty where there is none."""
    os.close(paths.make_dirs_in_root(root, os.path.dirname(path.rstrip("/")) or "/"))
    try:
        return paths.open_in_root(root, path, os.O_PATH | os.O_CLOEXEC)
    except SampanError:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(paths.open_in_root(root, path, flags, 0o644))
    return paths.open_in_root(root, path, os.O_PATH | os.O_CLOEXEC)


def is_hidden(destination: str) -> bool:
    """Whether a mount's target lies where a guest could reach its host process or a device."""
    return destination in HIDDEN or destination.startswith(tuple(f"{h}/" for h in HIDDEN))


def _use_host_paths(world: World, folder: str) -> None:
    """Without a mount namespace, folders are preopened where they are, and the image's files are read-only."""
    container, spec = world.container, world.spec
    world.root = os.open(container.lower or f"{folder}/upper", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if container.lower:
        world.preopens.append(Preopen(container.lower, "/", True))
    for mount in spec.mounts:
        if mount.destination.startswith("/etc/") or is_hidden(mount.destination):
            continue
        if not os.path.isdir(mount.source):
            raise Unimplemented(
                f"{mount.source} cannot be mounted at {mount.destination}: without a mount namespace only a folder can",
                fix="mount the folder that it is in",
            )
        world.preopens.append(Preopen(mount.source, mount.destination, mount.read_only))
    world.preopens += container.preopens


def enter_cgroup(world: World, cgroup: Cgroup) -> None:
    """Puts this process into the container's cgroup, with the spec's limits."""
    linux = world.spec.linux
    resources = (linux.resources if linux is not None else None) or Resources()
    try:
        try:
            cgroup.create(resources)
        except Exists:  # a run whose parent was killed left it
            cgroup.remove()
            cgroup.create(resources)
        cgroup.attach()
    except SampanError as error:
        plain = isinstance(error, Denied) and os.geteuid() != 0
        world.lack(CGROUP, Denied("a plain user may not make one here") if plain else error)
        return
    if cgroup.missing:
        world.lack(CGROUP, Unimplemented(f"this host cannot limit {', '.join(cgroup.missing)}"))


def jail(world: World) -> None:
    """Gives up everything that the workload must not have. Nothing can be imported or opened by path after it.

    Inherited descriptors are gone since `launch.begin`; those opened since are the process's own.
    """
    process = world.spec.process or Process()
    network = world.container.network is not None and world.container.network.mode != "none"
    privileges.set_rlimits({r.type: (r.soft, r.hard) for r in process.rlimits})
    if world.private and not world.joined:
        mounts.pivot_root(world.root)
    os.umask(process.user.umask if process.user and process.user.umask is not None else 0o022)
    _become(process, network)
    privileges.no_new_privileges()
    privileges.not_dumpable()
    if LANDLOCK not in world.absent:
        writable: list[str | int] = [p.host for p in world.preopens if not p.read_only]
        readable: list[str | int] = [p.host for p in world.preopens if p.read_only]
        landlock.restrict(readable, writable, deny_tcp=not network)
    if SECCOMP not in world.absent:
        seccomp.install(network)


def _become(process: Process, network: bool) -> None:
    """The spec's user, and of its capabilities those that a Wasm process can use."""
    granted = process.capabilities.effective if process.capabilities is not None else []
    keep = [c for c in granted if c in USABLE_CAPABILITIES and (network or c != "CAP_NET_BIND_SERVICE")]
    user = process.user or User()
    if os.geteuid() == 0:
        privileges.set_user(user.uid, user.gid, user.additional_gids)
        keep = keep if user.uid == 0 else []
    else:
        keep = []
    privileges.drop_capabilities(keep)
