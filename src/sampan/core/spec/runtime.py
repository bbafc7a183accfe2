"""OCI runtime specification 1.2: `config.json` as records, and the state document.

Only what Sampan reads or writes has a field; the rest stays in `unknown` and is passed on unchanged.
"""

from __future__ import annotations

from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
    apparmor_profile: str = ""
    selinux_label: str = ""

    def to_json(self) -> dict[str, Any]:
        """The JSON object; `cwd` is always in it, as the specification requires it."""
        return {**super().to_json(), "cwd": self.cwd}


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


class Memory(Record, json={"kernel_tcp": "kernelTCP", "disable_oom_killer": "disableOOMKiller"}):
    """Bytes; -1 is none. `swap` is memory and swap together. The last three exist on cgroup v1 alone."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    check_before_update: bool = False
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool = False


class Cpu(Record):
    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    burst: int | None = None
    idle: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""


class Pids(Record):
    limit: int


class DeviceRule(Record):
    """A rule of the devices controller; `type` is a, b, c or empty, `access` of the letters r, w, m."""

    allow: bool
    type: str = ""
    major: int | None = None
    minor: int | None = None
    access: str = ""


class WeightDevice(Record):
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Record):
    major: int
    minor: int
    rate: int


class BlockIO(
    Record,
    json={
        "throttle_read_bps_device": "throttleReadBpsDevice",
        "throttle_write_bps_device": "throttleWriteBpsDevice",
        "throttle_read_iops_device": "throttleReadIOPSDevice",
        "throttle_write_iops_device": "throttleWriteIOPSDevice",
    },
):
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: list[WeightDevice] = []
    throttle_read_bps_device: list[ThrottleDevice] = []
    throttle_write_bps_device: list[ThrottleDevice] = []
    throttle_read_iops_device: list[ThrottleDevice] = []
    throttle_write_iops_device: list[ThrottleDevice] = []


class HugepageLimit(Record):
    page_size: str
    limit: int


class InterfacePriority(Record):
    name: str
    priority: int


class NetworkClass(Record, json={"class_id": "classID"}):
    """How traffic is marked; on cgroup v1 alone."""

    class_id: int | None = None
    priorities: list[InterfacePriority] = []


class Rdma(Record):
    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(Record, json={"block_io": "blockIO"}):
    """What a container may use (config-linux.md, "Control groups"); `unified` are files of cgroup v2."""

    devices: list[DeviceRule] = []
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = None
    hugepage_limits: list[HugepageLimit] = []
    network: NetworkClass | None = None
    rdma: dict[str, Rdma] = {}
    unified: dict[str, str] = {}


class Namespace(Record):
    """`type` is pid, network, mount, ipc, uts, user, cgroup or time; with a `path` it is joined, else made."""

    type: str
    path: str = ""


class IdMapping(Record, json={"container_id": "containerID", "host_id": "hostID"}):
    container_id: int
    host_id: int
    size: int


class Device(Record):
    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class SyscallArg(Record):
    index: int
    value: int
    op: str
    value_two: int = 0


class SyscallRule(Record):
    names: list[str]
    action: str
    errno_ret: int | None = None
    args: list[SyscallArg] = []


class Seccomp(Record):
    """A seccomp profile (config-linux.md, "Seccomp")."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] = []
    flags: list[str] = []
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[SyscallRule] = []


class Linux(Record):
    """The Linux part of a spec (config-linux.md)."""

    resources: Resources | None = None
    cgroups_path: str = ""
    namespaces: list[Namespace] = []
    uid_mappings: list[IdMapping] = []
    gid_mappings: list[IdMapping] = []
    devices: list[Device] = []
    sysctl: dict[str, str] = {}
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""


class Hook(Record):
    """A program of the host that is run at one moment; `timeout` in seconds (config.md, "POSIX-platform Hooks")."""

    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class Hooks(Record):
    prestart: list[Hook] = []
    create_runtime: list[Hook] = []
    create_container: list[Hook] = []
    start_container: list[Hook] = []
    poststart: list[Hook] = []
    poststop: list[Hook] = []


class Spec(Record):
    """A container's `config.json`."""

    oci_version: str
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: list[Mount] = []
    hooks: Hooks | None = None
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
