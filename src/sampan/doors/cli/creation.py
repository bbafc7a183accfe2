"""From the words of `run` and `create` to a container: the OCI spec, and what it has no place for."""

from __future__ import annotations

import os
import time

from sampan.container import walls
from sampan.container.environment import PATH, merge
from sampan.container.events import publish_container
from sampan.container.leasts import check_limits
from sampan.container.records import RESOLVER_FILES, Container
from sampan.container.spaces import own_namespaces
from sampan.container.store import Containers, new_id
from sampan.container.users import find_user, home_of
from sampan.core.errors import Exhausted, Exists, Invalid, from_os_error
from sampan.core.record import Record
from sampan.core.signals import number_of
from sampan.core.spec.runtime import (
    OCI_VERSION,
    Capabilities,
    Cpu,
    Memory,
    Mount,
    Pids,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
    User,
)
from sampan.core.units import parse_duration
from sampan.doors.cli import runenv, runmounts, runvalues
from sampan.doors.cli.names import new_name
from sampan.doors.cli.sources import find_or_pull, plain_file
from sampan.doors.cli.volumes import Volumes
from sampan.engine.grants import Limits, Network, Preopen
from sampan.engine.plugins import OWN
from sampan.linux import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context
    from sampan.image.images import Image
    from sampan.image.snapshots import Snapshots

ROOTS_CAPABILITIES = ["CAP_NET_BIND_SERVICE", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
OPEN_FILES = 1024
TEXT_SUFFIX = ".wat"
MAX_TEXT = 16 << 20


class _What(Record):
    """What is to run, the same for a file and an image.

    `rootfs` is the unpacked root filesystem and `module` the host's file: one of them. `command` begins with the
    workload's name; `shown` is what tables call the image.
    """

    shown: str
    command: list[str]
    rootfs: str = ""
    module: str = ""
    image: Image | None = None
    env: list[str] = []
    cwd: str = "/"
    user: str = ""
    stop_signal: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    declared_volumes: list[str] = []
    exposed: list[str] = []


def create(context: Context, args: Arguments) -> Entry:
    """The new container of a `run` or `create` command line.

    Raises:
        SampanError: a flag's value, the image, or what it asks for is not to be had.
    """
    _check_words(args)
    container_id = new_id()
    source = plain_file(args.operands[0])
    if source:
        module = f"{context.roots.containers}/{container_id}/module.wasm"
        what = _from_file(args, module if source.endswith(TEXT_SUFFIX) else source)
        entry = _record(context, args, what, container_id)
    else:
        from sampan.image.snapshots import Snapshots

        image = find_or_pull(
            context, args.operands[0], args.value("pull"), args.value("platform"), quiet=args.on("quiet")
        )
        snapshots = Snapshots(f"{context.roots.images}/snapshots")
        with snapshots.hold():  # nobody may prune the snapshot before the container is on record
            entry = _record(context, args, _from_image(context, args, image, snapshots), container_id)
    container = entry.container
    try:
        if source.endswith(TEXT_SUFFIX):
            _translate_text(source, container.module)
        if args.value("cidfile"):
            _write_cidfile(args.value("cidfile"), container_id)
    except BaseException:  # half a container is none
        Containers(context.roots).remove(container_id)
        raise
    publish_container(context.roots, container, "create")
    return entry


def _check_words(args: Arguments) -> None:
    """Refuses what is wrong whatever the image is, before anything is pulled."""
    runvalues.check_security_options(args.values("security-opt"))
    runvalues.check_log_driver(args.value("log-driver"))
    runvalues.one_of("pull", args.value("pull"), ("missing", "always", "never"))
    if args.value("engine") != OWN:
        from sampan.engine import plugins

        plugins.find(args.value("engine"))
    runvalues.parse_ports(args.values("publish"))
    _limits(args)
    check_limits(_resources(args), _rlimits(args))
    _mount_wishes(args)
    for wall in args.values("waive"):
        runvalues.one_of("waive", wall, walls.WALLS)
    if args.on("rm") and runvalues.parse_restart(args.value("restart")).policy != "no":
        raise Invalid("--rm and --restart cannot be together: one removes what the other starts again")
    if args.value("cidfile") and os.path.lexists(args.value("cidfile")):
        raise Exists(f"the file {args.value('cidfile')} is there already", fix="remove it, or name another")


def _from_file(args: Arguments, path: str) -> _What:
    if args.value("entrypoint"):
        raise Invalid("--entrypoint names a file of an image", fix="run the file itself")
    return _What(os.path.basename(args.operands[0]), args.operands, module=path)


def _translate_text(source: str, target: str) -> None:
    """Writes the binary of a module in the text format into the container's folder."""
    from sampan.engine.code import wat_to_wasm

    try:
        with open(source, "rb") as file:
            text = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise from_os_error(error, "read the module") from error
    if len(text) > MAX_TEXT:
        raise Exhausted(f"{source} is larger than {MAX_TEXT} bytes", fix="translate it to a .wasm first")
    try:
        binary = wat_to_wasm(text)
    except Invalid as error:
        raise Invalid(f"{source}: {error.message}", exit_code=126) from error
    durable.write_file(target, binary)


def _record(context: Context, args: Arguments, what: _What, container_id: str) -> Entry:
    container, spec = _translate(context, args, what, container_id)
    return Containers(context.roots).create(container, spec)


def _from_image(context: Context, args: Arguments, image: Image, snapshots: Snapshots) -> _What:
    rootfs = snapshots.prepare(image.store, image)
    for name in image.reserved_labels:
        context.warn(f"the image's label {name} is reserved and left out")
    config = image.container_config
    return _What(
        _familiar(image),
        _command(args, image),
        rootfs,
        image=image,
        env=config.env,
        cwd=config.working_dir or "/",
        user=config.user,
        stop_signal=config.stop_signal,
        labels=image.labels,
        annotations=image.annotations,
        declared_volumes=list(config.volumes),
        exposed=list(config.exposed_ports),
    )


def _familiar(image: Image) -> str:
    from sampan.core.reference import parse_reference

    return parse_reference(image.name).familiar if image.name else image.shown


def _command(args: Arguments, image: Image) -> list[str]:
    """Docker's rule: words replace CMD, `--entrypoint` replaces ENTRYPOINT and drops CMD."""
    words = args.operands[1:]
    if args.given("entrypoint"):
        entrypoint = args.value("entrypoint")
        return [*([entrypoint] if entrypoint else []), *words]
    if not words:
        return image.entrypoint
    if image.is_container:
        return [*image.container_config.entrypoint, *words]
    return [*image.entrypoint[:1], *words]


def _translate(context: Context, args: Arguments, what: _What, container_id: str) -> tuple[Container, Spec]:
    network = _network(args, what)
    volumes = Volumes(context.roots, what.rootfs)
    for wish in _mount_wishes(args):
        volumes.add(wish)
    for target in what.declared_volumes:
        volumes.add_declared(target)
    mounts = volumes.mounts
    if network.mode != "none":
        taken = {m.destination for m in mounts}
        files = [f for f in RESOLVER_FILES if f not in taken and os.path.isfile(f)]
        mounts += [Mount(f, "bind", os.path.realpath(f), ["bind", "ro"]) for f in files]
    container = Container(
        container_id,
        args.value("name") or new_name(),
        what.shown,
        time.time_ns(),
        image_id=what.image.id if what.image is not None else "",
        lower=what.rootfs,
        module=what.module,
        preopens=_preopens(args) if what.module else [],
        labels={**what.labels, **runenv.read_labels(args.values("label-file"), args.values("label"))},
        network=network,
        limits=_limits(args),
        restart=runvalues.parse_restart(args.value("restart")),
        stop_signal=_stop_signal(args.value("stop-signal") or what.stop_signal),
        stop_timeout=parse_duration(args.value("stop-timeout") or "10"),
        auto_remove=args.on("rm"),
        keep_stdin=args.on("interactive"),
        strict=os.geteuid() == 0 or args.on("strict"),
        waived=args.values("waive"),
        volumes=volumes.anonymous,
        engine="" if args.value("engine") == OWN else args.value("engine"),
    )
    spec = Spec(
        OCI_VERSION,
        _process(context, args, what, container_id),
        Root("rootfs", args.on("read-only")),
        args.value("hostname") or container_id[:12],
        mounts=mounts,
        annotations={**what.annotations, **runenv.read_annotations(args.values("annotation"))},
        linux=own_namespaces(_resources(args)),
    )
    if what.image is not None:
        from sampan.container.finding import is_linux
        from sampan.doors.cli.linuximages import adapt

        if not container.engine and is_linux(spec, what.rootfs, what.image.platform, what.image.media_type):
            spec = adapt(context, args, container, spec)
    return container, spec


def _process(context: Context, args: Arguments, what: _What, container_id: str) -> Process:
    if not what.command:
        raise Invalid(
            f"{what.shown} has no command", fix="name a file of the image behind it, or build it with a CMD"
        )
    user = find_user(args.value("user") or what.user, what.rootfs)
    given = runenv.read_environment(args.values("env-file"), args.values("env"), context.env)
    env = given
    if not what.module:
        home = "HOME=/root" if user.uid == 0 else f"HOME={home_of(user.uid, what.rootfs)}"
        hostname = f"HOSTNAME={args.value('hostname') or container_id[:12]}"
        terminal = ["TERM=xterm"] if args.on("tty") else []
        env = merge([PATH, hostname, home, *terminal], what.env, given)
    cwd = args.value("workdir") or what.cwd
    if not cwd.startswith("/"):
        raise Invalid(f"the working directory {cwd[:80]!r} must start with '/'")
    capabilities = Capabilities(effective=_capabilities(args))
    return Process(
        what.command,
        cwd,
        env,
        args.on("tty"),
        user=_possible_user(context, user),
        rlimits=_rlimits(args),
        capabilities=capabilities,
        no_new_privileges=True,
    )


def _possible_user(context: Context, user: User) -> User:
    """A plain user's process stays that user's: it cannot become another."""
    if os.geteuid() != 0 and (user.uid, user.gid) != (0, 0):
        context.note(f"the process stays yours: a plain user cannot run it as {user.uid}:{user.gid}")
        return User()
    return user


def _capabilities(args: Arguments) -> list[str]:
    dropped = {f"CAP_{name.upper().removeprefix('CAP_')}" for name in args.values("cap-drop")}
    return [] if "CAP_ALL" in dropped else [c for c in ROOTS_CAPABILITIES if c not in dropped]


def _network(args: Arguments, what: _What) -> Network:
    ports = runvalues.parse_ports(args.values("publish"))
    if args.on("publish-all"):
        taken = {(p.guest_port, p.protocol) for p in ports}
        exposed = runvalues.parse_ports(what.exposed)
        ports += [p for p in exposed if (p.guest_port, p.protocol) not in taken]
    mode = runvalues.parse_network(args.value("network"), ports)
    return Network(mode, ports if mode == "published" else [])


def _mount_wishes(args: Arguments) -> list[runmounts.MountWish]:
    wishes = [runmounts.parse_volume(text) for text in args.values("volume")]
    wishes += [runmounts.parse_mount(text) for text in args.values("mount")]
    wishes += [runmounts.parse_tmpfs(text) for text in args.values("tmpfs")]
    if not plain_file(args.operands[0]):
        for text in args.values("dir"):
            folder = runmounts.parse_dir(text)
            guest = folder.guest if folder.guest.startswith("/") else f"/{folder.guest}"
            wishes.append(runmounts.MountWish("bind", folder.host, guest, folder.read_only))
    return wishes


def _preopens(args: Arguments) -> list[Preopen]:
    """The folders of `--dir` for a plain file, each under the name that was asked for."""
    folders = [runmounts.parse_dir(text) for text in args.values("dir")]
    for folder in folders:
        if not os.path.isdir(folder.host):
            raise Invalid(f"--dir {folder.host}: there is no such folder")
    return [folder.replace(host=os.path.abspath(folder.host)) for folder in folders]


def _limits(args: Arguments) -> Limits:
    limits = Limits()
    if args.given("fuel"):
        limits.fuel = runvalues.parse_count("fuel", args.value("fuel"), 1)
    if args.given("timeout"):
        limits.deadline = parse_duration(args.value("timeout"), "timeout")
    if args.given("table-elements"):
        limits.table_elements = runvalues.parse_count("table-elements", args.value("table-elements"))
    if args.given("max-stack"):
        limits.stack = runvalues.parse_memory("max-stack", args.value("max-stack"))
    if args.given("memory") and (os.geteuid() != 0 or walls.CGROUP in args.values("waive")):
        limits.memory = runvalues.parse_memory("memory", args.value("memory"))  # no cgroup will hold it
    return limits


def _resources(args: Arguments) -> Resources:
    resources = Resources()
    if args.given("memory"):
        resources.memory = Memory(limit=runvalues.parse_memory("memory", args.value("memory")))
    if args.given("cpus") or args.given("cpu-shares"):
        resources.cpu = Cpu()
    if args.given("cpus") and resources.cpu is not None:
        resources.cpu.quota, resources.cpu.period = runvalues.parse_cpus(args.value("cpus"))
    if args.given("cpu-shares") and resources.cpu is not None:
        resources.cpu.shares = runvalues.parse_count("cpu-shares", args.value("cpu-shares"), 2)
    if args.given("pids-limit"):
        most = runvalues.parse_count("pids-limit", args.value("pids-limit"), -1)
        resources.pids = Pids(most) if most > 0 else None
    return resources


def _rlimits(args: Arguments) -> list[Rlimit]:
    given = [runvalues.parse_ulimit(text) for text in args.values("ulimit")]
    by_type = {limit.type: limit for limit in [*_default_rlimits(), *given]}
    return list(by_type.values())


def _default_rlimits() -> list[Rlimit]:
    """No core files, and a usual number of open files where this process may have as many itself."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    return [Rlimit("RLIMIT_NOFILE", files, files), Rlimit("RLIMIT_CORE", 0, 0)]


def _stop_signal(text: str) -> str:
    if text:
        number_of(text)
    return text or "SIGTERM"


def _write_cidfile(path: str, container_id: str) -> None:
    try:
        with open(path, "x") as file:
            file.write(container_id)
    except OSError as error:
        raise from_os_error(error, "write the container's id") from error
