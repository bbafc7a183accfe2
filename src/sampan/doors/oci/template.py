"""The `config.json` that `sampan-oci spec` writes: runc's, with a Wasm module as the workload."""

from __future__ import annotations

import os

from sampan.core.spec.runtime import (
    OCI_VERSION,
    Capabilities,
    DeviceRule,
    IdMapping,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WORKLOAD = "/app.wasm"
ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
NAMESPACES = ["pid", "network", "ipc", "uts", "mount"]
QUIET = ["nosuid", "noexec", "nodev"]
MASKED = """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list
    /proc/timer_stats /proc/sched_debug /sys/firmware /sys/devices/virtual/powercap /proc/scsi
""".split()  # noqa: SIM905 - reads better
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def default_document(*, rootless: bool) -> dict[str, Any]:
    """The document; what the specification requires and people change is written out, also where it is the default."""
    document = default_spec(rootless=rootless).to_json()
    document["process"] |= {"terminal": False, "user": {"uid": 0, "gid": 0}, "cwd": "/"}
    return document


def default_spec(*, rootless: bool) -> Spec:
    """The spec; a `rootless` one maps this user to root, in a user namespace and without a network of its own."""
    return Spec(
        OCI_VERSION,
        Process(
            args=[WORKLOAD],
            env=ENV,
            capabilities=Capabilities(bounding=CAPABILITIES, effective=CAPABILITIES, permitted=CAPABILITIES),
            rlimits=[Rlimit("RLIMIT_NOFILE", soft=1024, hard=1024)],
            no_new_privileges=True,
        ),
        Root("rootfs", readonly=True),
        hostname="sampan",
        mounts=_mounts(rootless=rootless),
        linux=_linux_of_a_user() if rootless else _linux(),
    )


def _mounts(*, rootless: bool) -> list[Mount]:
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    system = Mount("/sys", "sysfs", "sysfs", [*QUIET, "ro"])
    if rootless:  # a sysfs belongs to a network namespace
        system = Mount("/sys", "none", "/sys", ["rbind", *QUIET, "ro"])
    else:
        terminals.append("gid=5")
    return [
        Mount("/proc", "proc", "proc"),
        Mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        Mount("/dev/pts", "devpts", "devpts", terminals),
        Mount("/dev/shm", "tmpfs", "shm", [*QUIET, "mode=1777", "size=65536k"]),  # noqa: S108 - the container's
        Mount("/dev/mqueue", "mqueue", "mqueue", QUIET),
        system,
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", [*QUIET, "relatime", "ro"]),
    ]


def _linux() -> Linux:
    return Linux(
        resources=Resources(devices=[DeviceRule(allow=False, access="rwm")]),
        namespaces=[Namespace(kind) for kind in NAMESPACES],
        masked_paths=MASKED,
        readonly_paths=READ_ONLY,
    )


def _linux_of_a_user() -> Linux:
    return Linux(
        namespaces=[*(Namespace(kind) for kind in NAMESPACES if kind != "network"), Namespace("user")],
        uid_mappings=[IdMapping(0, os.geteuid(), 1)],
        gid_mappings=[IdMapping(0, os.getegid(), 1)],
        masked_paths=MASKED,
        readonly_paths=READ_ONLY,
    )
