"""What a Linux container is given unless it is told otherwise: as Docker's, so that images find what they expect.

A Wasm workload needs none of it. Pure: from one spec to another (config.md, config-linux.md). There is no seccomp
profile here: which system calls a Linux program may make is the business of who runs it.
"""

from __future__ import annotations

import os

from sampan.core.spec.runtime import (
    Capabilities,
    DeviceRule,
    IdMapping,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Spec,
    User,
)

OCI_VERSION = "1.0.2"  # all that is used here, and some runtimes take no later one
CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP"),
        *("SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    )
)
MOUNTS = (
    Mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
    Mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    Mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    Mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    Mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", "nosuid", "noexec", "nodev"]),
    Mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    Mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),  # noqa: S108
)  # fmt: skip
MASKED = [
    *("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
    *(
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ),
]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
NAMESPACES = ("pid", "mount", "ipc", "uts", "cgroup")
UMASK = 0o022


def with_defaults(spec: Spec, cgroups_path: str, dropped: list[str], *, host_network: bool) -> Spec:
    """A spec for the runtime for Linux containers, of one that says what the user asked for.

    The user's mounts come last, and one at the place of a default takes its place. For a plain user there is a
    user namespace with this user as its root, and no cgroup.

    Args:
        dropped: the capabilities that it does not get, "CAP_ALL" for none at all.
    """
    rootless = os.geteuid() != 0
    process = spec.process or Process()
    user = process.user or User()
    linux = spec.linux or Linux()
    granted = [] if "CAP_ALL" in dropped else [c for c in CAPABILITIES if c not in dropped]
    own = (
        granted if user.uid == 0 else []
    )  # as Docker: another user gets them only by programs that carry them
    kinds = [*NAMESPACES, *([] if host_network else ["network"]), *(["user"] if rootless else [])]
    taken = {mount.destination for mount in spec.mounts}
    defaults = _mounts_for_plain_user(host_network=host_network) if rootless else MOUNTS
    return spec.replace(
        oci_version=OCI_VERSION,
        process=process.replace(
            user=user.replace(umask=UMASK if user.umask is None else user.umask),
            capabilities=Capabilities(granted, own, [], own),
        ),
        mounts=[*(mount for mount in defaults if mount.destination not in taken), *spec.mounts],
        linux=linux.replace(
            namespaces=[Namespace(kind) for kind in kinds],
            uid_mappings=[IdMapping(0, os.geteuid(), 1)] if rootless else [],
            gid_mappings=[IdMapping(0, os.getegid(), 1)] if rootless else [],
            resources=None if rootless else _resources(linux),
            cgroups_path="" if rootless else cgroups_path,
            masked_paths=MASKED,
            readonly_paths=READ_ONLY,
        ),
    )


def is_default(mount: Mount) -> bool:
    """Whether every Linux container has this mount, whoever asked for none."""
    plain = (_mounts_for_plain_user(host_network=network) for network in (False, True))
    return mount in MOUNTS or any(mount in mounts for mounts in plain)


def _resources(linux: Linux) -> Resources:
    """No device but those that every Linux container has; the runtime adds their rules."""
    resources = linux.resources or Resources()
    return resources.replace(devices=[DeviceRule(False, access="rwm"), *resources.devices])


def _mounts_for_plain_user(*, host_network: bool) -> list[Mount]:
    """What a user namespace with one id can have: no other group, no cgroups, and with the host's network its sysfs."""
    mounts = [m.replace(options=[o for o in m.options if o != "gid=5"]) for m in MOUNTS if m.type != "cgroup"]
    if host_network:
        bound = Mount("/sys", "bind", "/sys", ["rbind", "nosuid", "noexec", "nodev", "ro"])
        mounts = [bound if mount.type == "sysfs" else mount for mount in mounts]
    return mounts
