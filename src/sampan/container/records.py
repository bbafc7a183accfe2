"""A container's documents on disk.

A container is a folder that is also an OCI bundle: `config.json` is its OCI spec, `container.json` holds what
the spec has no place for. A run adds `running.json` (written by the container process before it jails itself)
and `exit.json` (written at its end, by itself or by whoever reaped it).
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.core.record import Record
from sampan.engine.grants import Limits, Network, Preopen

SHOWN_ID = 12
RECORD_SECONDS = 2.0  # what the parent of a process takes at most to write down how it ended
RESOLVER_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
)  # the host's, for a guest with a network


class Restart(Record):
    """A restart policy: `no`, `always`, `unless-stopped` or `on-failure`; `most` retries, 0 for no limit."""

    policy: str = "no"
    most: int = 0


class Container(Record):
    """What `create` decided; never changed by a run, only by rename and update.

    `module` is a host path for a workload that is a plain file, else empty: then `process.args[0]` of the spec
    names it inside the root filesystem. `lower` is the unpacked root filesystem, empty for a plain file.
    For a container of the OCI door, `bundle` is its bundle's folder, and the root filesystem is the one that the
    bundle names; `lower` and `module` are empty. `systemd_cgroup`: its cgroup is made by systemd.
    `linux_runtime`: the path of the program that runs a Linux image; empty for WebAssembly. `engine`: the name of one
    that another package brings (see engine/plugins.py); empty for wasmtime. `sandbox`: it holds the
    namespaces of a pod and runs nothing. `pod`: the id of the CRI pod sandbox whose container it is; only a kubelet
    removes such a one. `log_path`: the file that takes its log in CRI's format, and that somebody else rotates; empty
    for files of our own in its folder. `log_folder`: a folder above it that no link on the way to it leads out of.
    `created` is in nanoseconds since 1970, `stop_timeout` in seconds. With `strict`, a wall that cannot be built
    is an error, but for those named in `waived` (see `walls`).
    """

    id: str
    name: str
    image: str
    created: int
    image_id: str = ""
    lower: str = ""
    module: str = ""
    preopens: list[Preopen] = []
    labels: dict[str, str] = {}
    network: Network | None = None
    limits: Limits | None = None
    restart: Restart | None = None
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10.0
    auto_remove: bool = False
    keep_stdin: bool = False
    strict: bool = True
    waived: list[str] = []
    volumes: list[str] = []
    bundle: str = ""
    systemd_cgroup: bool = False
    linux_runtime: str = ""
    sandbox: bool = False
    engine: str = ""
    pod: str = ""
    log_path: str = ""
    log_folder: str = ""

    @property
    def short_id(self) -> str:
        return self.id[:SHOWN_ID]


class Running(Record):
    """The process of a run: who it is (pid and start time, valid in one boot) and when it began (ns).

    `absent` are the names of walls that could not be had, `missing` says so in one sentence each. `cgroup` is its
    cgroup below the hierarchies, `spaces` its namespaces by their CLONE_NEW flag and `root` its root filesystem, as
    device and inode: written before a workload could lie about them. `linux_pid` and `linux_start` are the program of
    a Linux container, which `pid` supervises.
    """

    pid: int
    start_time: int
    boot_id: str
    started: int
    missing: list[str] = []
    absent: list[str] = []
    cgroup: str = ""
    spaces: dict[str, str] = {}
    root: str = ""
    linux_pid: int = 0
    linux_start: int = 0

    @property
    def target(self) -> tuple[int, int]:
        """Whom signals are for: pid and start time of the process that is the workload."""
        return (self.linux_pid, self.linux_start) if self.linux_pid else (self.pid, self.start_time)


class Exit(Record):
    """How a run ended. `reason`: exited, trap, deadline, fuel, memory, signal, killed, oom, lost or error.

    `code` is what the command line exits with: the guest's own code, 134, 137, 128+n, or 125..127.
    """

    code: int
    reason: str
    finished: int
    message: str = ""


class State(Record):
    """What is known of a container at one moment.

    `status` is created, running or exited; `running` the process of the last run, dead or alive; `exit` how it
    ended, None before it did.
    """

    status: str
    running: Running | None = None
    exit: Exit | None = None


class Restarts(Record):
    """What the zygote and `stop` tell each other: how often it was restarted, and whether a person stopped it."""

    count: int = 0
    stopped_by_user: bool = False


_ID_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_ID_REST = _ID_FIRST | frozenset("_.+-")
MAX_ID = 255  # it names a folder


def check_name(name: str, what: str = "container name") -> str:
    """`name`, when it is fit to be an id or a name: `[A-Za-z0-9][A-Za-z0-9_.+-]*`, at most 255 characters.

    Raises:
        Invalid: anything else, so that a name can never be a path.
    """
    if not name or name[0] not in _ID_FIRST or not _ID_REST.issuperset(name) or len(name) > MAX_ID:
        raise Invalid(
            f"{name[:60]!r} is not a {what}",
            fix="start with a letter or digit, then letters, digits, '_', '.', '+' or '-'",
        )
    return name
