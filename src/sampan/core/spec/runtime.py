"""OCI runtime specification 1.2: `config.json` as records, and the state document.

Only what Sampan reads or writes has a field; the rest stays in `unknown` and is passed on unchanged.
"""

from __future__ import annotations

from sampan.core.record import Record

OCI_VERSION = "1.2.0"


class User(Record):
    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: list[int] = []


class Rlimit(Record):
    type: str
    soft: int
    hard: int


class ConsoleSize(Record):
    height: int
    width: int


class Capabilities(Record):
    bounding: list[str] = []
    effective: list[str] = []
    inheritable: list[str] = []
    permitted: list[str] = []
    ambient: list[str] = []


class Process(Record):
    """What runs (config.md, "Process"); `args[0]` names the workload inside the root filesystem."""

    args: list[str] = []
    cwd: str = "/"
    env: list[str] = []
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User | None = None
    rlimits: list[Rlimit] = []
    capabilities: Capabilities | None = None
    no_new_privileges: bool = False
    oom_score_adj: int | None = None


class Root(Record):
    path: str
    readonly: bool = False


class Mount(Record):
    """A mount (config.md, "Mounts"); `options` are the words of mount(8)."""

    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []

    @property
    def read_only(self) -> bool:
        return "ro" in self.options


class Memory(Record):
    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None


class Cpu(Record):
    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    cpus: str = ""
    mems: str = ""


class Pids(Record):
    limit: int


class Resources(Record):
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None


class Namespace(Record):
    type: str
    path: str = ""


class Linux(Record):
    resources: Resources | None = None
    cgroups_path: str = ""
    namespaces: list[Namespace] = []


class Spec(Record):
    """A container's `config.json`."""

    oci_version: str
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    mounts: list[Mount] = []
    annotations: dict[str, str] = {}
    linux: Linux | None = None


class State(Record):
    """What `state` prints (runtime.md, "State"); `status` is creating, created, running or stopped."""

    oci_version: str
    id: str
    status: str
    bundle: str
    pid: int = 0
    annotations: dict[str, str] = {}
