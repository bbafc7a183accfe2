"""What the Linux part of a spec may say, told before anything is made of it. config-linux.md

Values only, as in `checks`. Limits are checked for what they could mean at all; what the kernel at hand refuses
comes out when they are set.
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.core.spec.checks import MAX_ID, check_path, check_range, check_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import (
        BlockIO,
        Cpu,
        Device,
        DeviceRule,
        IdMapping,
        Linux,
        Memory,
        Namespace,
        Resources,
        Spec,
    )

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
PROPAGATIONS = (
    "",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
)
DEVICE_TYPES = ("c", "b", "u", "p")
MOST_MAPPINGS = 340
_INT = 2**63 - 1
_UNSIGNED = 2**64 - 1


def check_linux(spec: Spec) -> None:
    """Refuse a spec whose namespaces, id maps, devices, limits or paths cannot be followed.

    Raises:
        Invalid: a value is missing, malformed or out of range, or needs a namespace that is not asked for.
    """
    linux = spec.linux
    types = {namespace.type for namespace in linux.namespaces} if linux is not None else set()
    for field, name in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if name and "uts" not in types:
            raise Invalid(f"{field} is set without a UTS namespace", fix="add a namespace of type uts")
    if linux is None:
        return
    check_namespaces(linux.namespaces)
    _check_user_namespace(linux)
    for number, device in enumerate(linux.devices):
        _check_device(device, f"linux.devices[{number}]")
    check_cgroups_path(linux.cgroups_path)
    if linux.resources is not None:
        check_resources(linux.resources)
    for field, paths in (("maskedPaths", linux.masked_paths), ("readonlyPaths", linux.readonly_paths)):
        for number, path in enumerate(paths):
            check_path(path, f"linux.{field}[{number}]")
    if linux.rootfs_propagation not in PROPAGATIONS:
        raise Invalid(f"linux.rootfsPropagation {linux.rootfs_propagation[:40]!r} is not a propagation")
    check_text(linux.mount_label, "linux.mountLabel")


def check_namespaces(namespaces: list[Namespace]) -> None:
    """Refuse namespaces that are unknown or there twice, and paths that are not absolute."""
    seen = set()
    for number, namespace in enumerate(namespaces):
        where = f"linux.namespaces[{number}]"
        if namespace.type not in NAMESPACES:
            raise Invalid(f"{where}.type {namespace.type[:40]!r} is not a namespace")
        if namespace.type in seen:
            raise Invalid(f"{where}: the namespace {namespace.type} stands there twice")
        seen.add(namespace.type)
        if namespace.path:
            check_path(namespace.path, f"{where}.path")


def _check_user_namespace(linux: Linux) -> None:
    own = next((n for n in linux.namespaces if n.type == "user"), None)
    maps = {"linux.uidMappings": linux.uid_mappings, "linux.gidMappings": linux.gid_mappings}
    for where, mappings in maps.items():
        if own is None and mappings:
            raise Invalid(f"{where} is set without a user namespace", fix="add a namespace of type user")
        if mappings or (own is not None and not own.path):
            check_mappings(mappings, where)


def check_mappings(mappings: list[IdMapping], where: str) -> None:
    """Refuse an id map that the kernel would refuse: empty, overlapping, of too many lines, out of range.

    Args:
        where: the field, for the error.
    """
    if not mappings:
        raise Invalid(f"{where} is empty, and a user namespace needs ids")
    if len(mappings) > MOST_MAPPINGS:
        raise Invalid(f"{where} has {len(mappings)} lines, more than the {MOST_MAPPINGS} that Linux allows")
    for number, m in enumerate(mappings):
        at = f"{where}[{number}]"
        check_range(m.container_id, 0, MAX_ID, f"{at}.containerID")
        check_range(m.host_id, 0, MAX_ID, f"{at}.hostID")
        check_range(m.size, 1, MAX_ID + 1 - max(m.container_id, m.host_id), f"{at}.size")
    for side, starts in (
        ("containerID", [(m.container_id, m.size) for m in mappings]),
        ("hostID", [(m.host_id, m.size) for m in mappings]),
    ):
        starts.sort()
        end = 0
        for first, size in starts:
            if first < end:
                raise Invalid(f"{where}: two lines have the {side} {first} in them")
            end = first + size


def check_cgroups_path(path: str) -> None:
    """Refuse a path that could lead out of the cgroup hierarchy."""
    check_text(path, "linux.cgroupsPath")
    if len(path) > 4095 or any(part == ".." or len(part.encode()) > 255 for part in path.split("/")):
        raise Invalid(f"linux.cgroupsPath {path[:60]!r} has `..` in it, or a name that is too long")


def check_resources(resources: Resources, where: str = "linux.resources") -> None:
    """Refuse limits that mean nothing to any kernel.

    Args:
        where: the field, for the error.
    """
    for number, rule in enumerate(resources.devices):
        _check_device_rule(rule, f"{where}.devices[{number}]")
    if resources.memory is not None:
        _check_memory(resources.memory, f"{where}.memory")
    if resources.cpu is not None:
        _check_cpu(resources.cpu, f"{where}.cpu")
    if resources.pids is not None:
        check_range(resources.pids.limit, -1, _INT, f"{where}.pids.limit")
    if resources.block_io is not None:
        _check_block_io(resources.block_io, f"{where}.blockIO")
    for number, huge in enumerate(resources.hugepage_limits):
        at = f"{where}.hugepageLimits[{number}]"
        digits, unit = huge.page_size[:-2], huge.page_size[-2:]
        if unit not in ("KB", "MB", "GB") or not _is_number(digits) or len(digits) > 9:
            raise Invalid(f"{at}.pageSize {huge.page_size[:40]!r} is not a page size", fix="2MB is one")
        check_range(huge.limit, 0, _UNSIGNED, f"{at}.limit")
    for name, value in resources.unified.items():
        if not name or "/" in name or name.startswith(".") or not name.isascii() or not name.isprintable():
            raise Invalid(f"{where}.unified: {name[:40]!r} is not the name of a cgroup's file")
        check_text(value, f"{where}.unified.{name[:40]}")


def _check_memory(memory: Memory, where: str) -> None:
    for field, value in (("limit", memory.limit), ("reservation", memory.reservation), ("swap", memory.swap)):
        if value is not None:
            check_range(value, -1, _INT, f"{where}.{field}")
    if memory.limit and memory.limit > 0 and memory.swap and 0 < memory.swap < memory.limit:
        raise Invalid(f"{where}.swap, which counts memory and swap, is below {where}.limit")


def _check_cpu(cpu: Cpu, where: str) -> None:
    for field, value, least, most in (
        ("shares", cpu.shares, 0, _UNSIGNED),
        ("quota", cpu.quota, -1, _INT),
        ("period", cpu.period, 0, _UNSIGNED),
        ("burst", cpu.burst, 0, _UNSIGNED),
        ("realtimeRuntime", cpu.realtime_runtime, -1, _INT),
        ("realtimePeriod", cpu.realtime_period, 0, _UNSIGNED),
        ("idle", cpu.idle, 0, 1),
    ):
        if value is not None:
            check_range(value, least, most, f"{where}.{field}")
    for field, text in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        for part in text.split(",") if text else ():
            first, dash, last = part.partition("-")
            numbers = [first, last] if dash else [first]
            if not all(_is_number(n) and len(n) < 7 for n in numbers) or int(numbers[-1]) < int(first):
                raise Invalid(f"{where}.{field} {text[:40]!r} is not a list of numbers", fix="0-3,7 is one")


def _check_block_io(limits: BlockIO, where: str) -> None:
    for number, device in enumerate(limits.weight_device):
        at = f"{where}.weightDevice[{number}]"
        _check_numbers(device.major, device.minor, at)
        _check_weights(device.weight, device.leaf_weight, at)
    _check_weights(limits.weight, limits.leaf_weight, where)
    for field in ("read_bps", "write_bps", "read_iops", "write_iops"):
        name = f"throttle_{field}_device"
        for number, throttle in enumerate(getattr(limits, name)):
            at = f"{where}.{limits._names[name]}[{number}]"
            _check_numbers(throttle.major, throttle.minor, at)
            check_range(throttle.rate, 0, _UNSIGNED, f"{at}.rate")


def _check_weights(weight: int | None, leaf: int | None, where: str) -> None:
    for field, value in (("weight", weight), ("leafWeight", leaf)):
        if value:  # 0 leaves it as it is
            check_range(value, 10, 1000, f"{where}.{field}")


def _check_device(device: Device, where: str) -> None:
    check_path(device.path, f"{where}.path")
    if device.type not in DEVICE_TYPES:
        raise Invalid(f"{where}.type {device.type[:40]!r} is not one of {', '.join(DEVICE_TYPES)}")
    if device.type != "p":
        _check_numbers(device.major, device.minor, where)
    if device.file_mode is not None:
        check_range(device.file_mode, 0, 0o177777, f"{where}.fileMode")
    for field, number in (("uid", device.uid), ("gid", device.gid)):
        if number is not None:
            check_range(number, 0, MAX_ID, f"{where}.{field}")


def _check_device_rule(rule: DeviceRule, where: str) -> None:
    if rule.type not in ("", "a", "b", "c"):
        raise Invalid(f"{where}.type {rule.type[:40]!r} is not a, b or c")
    if set(rule.access) - set("rwm"):
        raise Invalid(f"{where}.access {rule.access[:40]!r} has a letter other than r, w and m")
    major, minor = (-1 if number is None else number for number in (rule.major, rule.minor))
    _check_numbers(major, minor, where, least=-1)  # -1 stands for every one


def _check_numbers(major: int, minor: int, where: str, least: int = 0) -> None:
    check_range(major, least, 2**12 - 1, f"{where}.major")
    check_range(minor, least, 2**20 - 1, f"{where}.minor")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
