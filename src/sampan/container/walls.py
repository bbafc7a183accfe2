"""The second wall: what stands between a workload and the host on the day the engine does not.

`build` makes the namespaces with the workload's root filesystem in them; then the process loads the workload;
`enter_root` makes that root filesystem all that there is, and `jail` gives everything else up. Each wall has a name;
one that cannot be built is an error for a strict container unless it is waived by that name, and else a sentence in
`missing`.
"""

from __future__ import annotations

import os

from sampan.container import rootfs
from sampan.container.records import RESOLVER_FILES
from sampan.container.spaces import Spaces
from sampan.container.starter import own_pid
from sampan.core.errors import Denied, Exists, Invalid, SampanError, Unimplemented
from sampan.core.spec.runtime import Capabilities, Linux, Mount, Process, Resources, Spec, User
from sampan.engine.grants import Preopen
from sampan.linux import landlock, mounts, namespaces, privileges, processes, seccomp
from sampan.linux.cgroups import Cgroup
from sampan.linux.namespaces import NEWNS, NEWUSER, NEWUTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.container.records import Container
    from sampan.container.starter import Starter

NAMESPACE, CGROUP, LANDLOCK, SECCOMP = "namespace", "cgroup", "landlock", "seccomp"
WALLS = (NAMESPACE, CGROUP, LANDLOCK, SECCOMP)
USABLE_CAPABILITIES = ("CAP_NET_BIND_SERVICE", "CAP_DAC_OVERRIDE", "CAP_FOWNER")
PREOPENS = "/.preopens"


class World:
    """The root filesystem as the workload will see it.

    Attributes:
        root: a descriptor of it. spaces: its namespaces. private: whether one of mounts is among them.
        joined: whether that namespace was there before this process.
        preopens: what the workload is given, as paths inside the jail. missing: walls that could not be had.
        profile: the spec's seccomp profile, compiled, and its flags. may_set_groups: false in a plain user's user
            namespace.
        is_out_of_reach: whether the host's files cannot be read from it: it is in a user namespace that root makes.
    """

    def __init__(self, container: Container, spec: Spec) -> None:
        self.container = container
        self.spec = spec
        self.root = -1
        self.spaces = Spaces(spec.linux or Linux())
        self.private = False
        self.joined = False
        self.preopens: list[Preopen] = []
        self.missing: list[str] = []
        self.absent: set[str] = set()
        self.may_set_groups = True
        self.profile: tuple[bytes, list[str]] | None = None

    @property
    def is_out_of_reach(self) -> bool:
        return bool(self.spaces.made & NEWUSER) and os.geteuid() == 0

    @property
    def has_network(self) -> bool:
        """Whether the workload is given any."""
        return self.container.network is not None and self.container.network.mode != "none"

    def lack(self, wall: str, error: SampanError) -> None:
        """Takes note of a wall that cannot be built.

        Raises:
            Denied: the container is strict and does not waive this wall.
        """
        if self.container.strict and wall not in self.container.waived:
            fix = error.fix if self.container.bundle else f"or waive it: --waive {wall}"
            raise Denied(f"the {wall} wall cannot be built: {error.message}", fix=fix)
        self.absent.add(wall)
        self.missing.append(f"no {wall} ({error.message})")


def import_all() -> None:
    """Imports what `build`, `enter_cgroup` and `jail` otherwise import when they need it."""
    import sampan.linux.cgroup_devices
    import sampan.linux.labels
    import sampan.linux.profiles
    import sampan.linux.sysctls  # noqa: F401


def build(world: World, folder: str, starter: Starter | None = None) -> None:
    """Makes the world of a new run, in namespaces that this process enters (or a child of it, which goes on).

    Args:
        folder: the container's, with `upper`, `work` and `rootfs` in it.
        starter: writes the maps of a user namespace and is told who goes on; None where neither is needed.

    Raises:
        SampanError: a mount cannot be made, or a wall of a strict container cannot be built.
    """
    try:
        world.spaces.enter(starter)
        world.private = bool(world.spaces.all & NEWNS)
        if not world.private:
            raise Invalid("the spec has no mount namespace")
    except SampanError as error:
        if world.spaces.entered:  # half of them are no wall and no freedom either
            raise
        world.lack(NAMESPACE, error)
        world.spaces = Spaces(Linux())
    world.may_set_groups = namespaces.may_set_groups()
    _apply_kernel_settings(world)
    if world.private:
        _mount_root(world, folder)
    else:
        _use_host_paths(world, folder)
    _probe(world)


def _apply_kernel_settings(world: World) -> None:
    """What the spec wants of the namespaces and of the process, and needs the host's /proc for."""
    spec = world.spec
    linux, process = spec.linux or Linux(), spec.process or Process()
    own_names = world.spaces.all & NEWUTS
    if spec.hostname and own_names:
        namespaces.set_hostname(spec.hostname)
    if spec.domainname and own_names:
        namespaces.set_domainname(spec.domainname)
    if linux.sysctl:
        from sampan.linux import sysctls

        sysctls.apply(linux.sysctl)
    if _has_labels(process):
        from sampan.linux import labels

        labels.check(process)
    if process.oom_score_adj is not None:
        processes.set_oom_score_adj(process.oom_score_adj)


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
    elif world.spec.linux is not None and world.spec.linux.seccomp is not None:
        from sampan.linux.profiles import compile_profile

        profile = world.spec.linux.seccomp
        world.profile = compile_profile(profile), profile.flags


def _mount_root(world: World, folder: str) -> None:
    """The container's root filesystem in its own mount namespace, with everything that the spec puts on it."""
    container, spec = world.container, world.spec
    linux = spec.linux or Linux()
    if container.bundle:
        world.root = rootfs.prepare(_rootfs_path(world), linux.rootfs_propagation)
    else:
        world.root = mount_layers(container, folder, linux.rootfs_propagation)
    rootfs.mount_all(world.root, [*spec.mounts, *_preopen_mounts(container)], bundle=container.bundle or "/")
    rootfs.hide(world.root, linux.masked_paths, linux.readonly_paths)
    if _is_read_only(spec):
        mounts.make_read_only(world.root)
    world.preopens = _private_preopens(world)


def _rootfs_path(world: World) -> str:
    assert world.spec.root is not None  # checked with the bundle
    return os.path.join(world.container.bundle, world.spec.root.path)


def mount_layers(container: Container, folder: str, propagation: str = "") -> int:
    """An image's unpacked layers with a folder on top that takes all writes; for a plain file that folder alone.

    Args:
        propagation: the spec's `rootfsPropagation`, "" where nothing is to pass from the host or to it.
    """
    target = f"{folder}/rootfs"
    if propagation:
        place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        rootfs.seclude(place, propagation)
        os.close(place)
    else:
        mounts.make_private()
    if container.lower:
        rootless = os.geteuid() != 0
        mounts.overlay(target, [container.lower], f"{folder}/upper", f"{folder}/work", userns=rootless)
    else:
        mounts.bind(f"{folder}/upper", target, recursive=False)
    return os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _preopen_mounts(container: Container) -> list[Mount]:
    """The folders that were asked for by name, each where `_private_preopens` opens it."""
    return [
        Mount(f"{PREOPENS}/{number}", "bind", preopen.host, ["bind", "ro"] if preopen.read_only else ["bind"])
        for number, preopen in enumerate(container.preopens)
    ]


def _is_read_only(spec: Spec) -> bool:
    return spec.root is not None and spec.root.readonly


def _private_preopens(world: World) -> list[Preopen]:
    """`/` where there is anything in it, and each folder that was asked for under a name of its own.

    `/` is read-only for WASI only where nothing below it can be written; the kernel's mounts hold in any case.
    """
    container, spec = world.container, world.spec
    preopens = [Preopen(f"{PREOPENS}/{n}", p.guest, p.read_only) for n, p in enumerate(container.preopens)]
    shown = [
        m for m in spec.mounts if m.destination not in RESOLVER_FILES and not rootfs.is_hidden(m.destination)
    ]
    if container.lower or container.bundle or shown:
        read_only = _is_read_only(spec) and all(mount.read_only for mount in shown)
        preopens.insert(0, Preopen("/", "/", read_only))
    return preopens


def _use_host_paths(world: World, folder: str) -> None:
    """Without a mount namespace, folders are preopened where they are, and an image's files are read-only."""
    container, spec = world.container, world.spec
    host = _rootfs_path(world) if container.bundle else container.lower
    world.root = os.open(host or f"{folder}/upper", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if host:
        world.preopens.append(Preopen(host, "/", bool(container.lower) or _is_read_only(spec)))
    for mount in spec.mounts:
        if mount.destination in (*RESOLVER_FILES, rootfs.TERMINATION_LOG) or rootfs.is_hidden(
            mount.destination
        ):
            continue
        if mount.type == "tmpfs":
            raise Unimplemented(f"no tmpfs can be had at {mount.destination} without a mount namespace")
        if not os.path.isdir(mount.source):
            raise Unimplemented(
                f"{mount.source} cannot be mounted at {mount.destination}: without a mount namespace only a folder can",
                fix="mount the folder that it is in",
            )
        world.preopens.append(Preopen(mount.source, mount.destination, mount.read_only))
    world.preopens += container.preopens


def enter_cgroup(world: World, cgroup: Cgroup, claim: Callable[[str], None]) -> None:
    """Puts this process into the container's cgroup, with the spec's limits.

    Args:
        claim: is told the path of a cgroup that was made: from then on it goes with the container.
    """
    linux = world.spec.linux
    resources = (linux.resources if linux is not None else None) or Resources()
    try:
        try:
            cgroup.create(resources, own_pid())
        except Exists:  # a run whose parent was killed left it
            cgroup.remove()
            cgroup.create(resources, own_pid())
        try:
            claim(cgroup.path)
        except BaseException:  # the container was deleted meanwhile: nobody else would take it away
            cgroup.remove()
            raise
        cgroup.attach()
    except SampanError as error:
        plain = isinstance(error, Denied) and not world.container.strict
        world.lack(CGROUP, Denied("a plain user may not make one here") if plain else error)
        return
    if cgroup.missing:
        world.lack(CGROUP, Unimplemented(f"this host cannot limit {', '.join(cgroup.missing)}"))


def enter_root(world: World) -> None:
    """Makes the container's root filesystem all that there is; nothing of the host can be opened after it."""
    if world.private and not world.joined:
        mounts.pivot_root(world.root)
        if world.spec.linux is not None and world.spec.linux.rootfs_propagation:
            rootfs.propagate(world.root, world.spec.linux.rootfs_propagation)


def jail(world: World) -> None:
    """Gives up everything that the workload must not have. Nothing can be imported or opened by path after it.

    Inherited descriptors are gone since `launch.begin`; those opened since are the process's own.
    """
    process = world.spec.process or Process()
    network = world.has_network
    privileges.set_rlimits({r.type: (r.soft, r.hard) for r in process.rlimits})
    os.umask(process.user.umask if process.user and process.user.umask is not None else 0o022)
    if _has_labels(process):
        from sampan.linux import labels  # it is there since `build`

        labels.apply(process)
    become_user(world)
    privileges.no_new_privileges()
    privileges.not_dumpable()
    if LANDLOCK not in world.absent:
        writable: list[str | int] = [p.host for p in world.preopens if not p.read_only]
        readable: list[str | int] = [p.host for p in world.preopens if p.read_only]
        landlock.restrict(readable, writable, deny_tcp=not network)
    if SECCOMP not in world.absent:
        seccomp.install(network, world.profile)


def _has_labels(process: Process) -> bool:
    return bool(process.apparmor_profile or process.selinux_label)


def become_user(world: World) -> None:
    """The spec's user, and of its capabilities those that a Wasm process can use."""
    process = world.spec.process or Process()
    usable = [c for c in USABLE_CAPABILITIES if world.has_network or c != "CAP_NET_BIND_SERVICE"]
    keep = [c for c in _granted(process) if c in usable]
    user = process.user or User()
    if os.geteuid() == 0:
        groups = user.additional_gids if world.may_set_groups or user.additional_gids else None
        privileges.set_user(user.uid, user.gid, groups, keep_capabilities=True)
    else:
        keep = []
    privileges.drop_capabilities(keep)


def _granted(process: Process) -> list[str]:
    """What a program has once it is executed: another user than root has the ambient capabilities alone.

    No program is executed here that the kernel would do this for.
    """
    capabilities = process.capabilities or Capabilities()
    user = process.user or User()
    if user.uid == 0:
        return capabilities.effective
    return [c for c in capabilities.ambient if c in capabilities.permitted]
