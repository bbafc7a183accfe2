"""What `linux.resources` of a spec means as values of files of cgroup version 1 and version 2.

`check` refuses what no kernel can take before anything is written; `v1_writes` and `v2_writes` only say what to
write. The devices rules are in `cgroup_devices`. OCI runtime specification, config-linux.md, "Control groups";
values that exist in one version only are converted as runc converts them.
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.core.record import Record
from sampan.core.spec.runtime import (
    BlockIO,
    Cpu,
    DeviceRule,
    HugepageLimit,
    InterfacePriority,
    Memory,
    NetworkClass,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Has = Callable[[str, str], bool]
    """Whether the group has this file of this controller."""

    Write = tuple[str, str, list[tuple[str, str]]]
    """What is limited (for messages), the controller, and values for files that belong together."""

PERIOD = 100_000
_MOST = (1 << 63) - 1
_COUNT = (0, _MOST)
_SIGNED = (-1, _MOST)
_WORD = (0, (1 << 32) - 1)
_MAJOR, _MINOR = (-1, (1 << 12) - 1), (-1, (1 << 20) - 1)
_RANGES: dict[type[Record], dict[str, tuple[int, int]]] = {
    Memory: {"limit": _SIGNED, "reservation": _SIGNED, "swap": _SIGNED, "kernel_tcp": _SIGNED, "swappiness": (0, 100)},
    Cpu: {
        "shares": (0, 262144), "quota": _SIGNED, "period": (0, 1_000_000), "burst": _COUNT, "idle": (0, 1),
        "realtime_runtime": _SIGNED, "realtime_period": _COUNT,
    },
    Pids: {"limit": _SIGNED},
    BlockIO: {"weight": (0, 1000), "leaf_weight": (0, 1000)},
    WeightDevice: {"major": _MAJOR, "minor": _MINOR, "weight": (0, 1000), "leaf_weight": (0, 1000)},
    ThrottleDevice: {"major": _MAJOR, "minor": _MINOR, "rate": _COUNT},
    HugepageLimit: {"limit": (0, (1 << 64) - 1)},
    DeviceRule: {"major": _MAJOR, "minor": _MINOR},
    NetworkClass: {"class_id": _WORD},
    InterfacePriority: {"priority": _WORD},
    Rdma: {"hca_handles": _WORD, "hca_objects": _WORD},
}  # fmt: skip
_LEASTS = ((Cpu, "shares", 2), (Cpu, "quota", 1000), (Cpu, "period", 1000), (BlockIO, "weight", 10),
           (BlockIO, "leaf_weight", 10), (WeightDevice, "weight", 10), (WeightDevice, "leaf_weight", 10))  # fmt: skip
_SETTABLE = ("cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure")


def check(resources: Resources) -> None:
    """Refuse values that mean nothing, that contradict each other, or that reach beyond the group.

    Raises:
        Invalid: names the value.
    """
    _check_numbers(resources, "resources")
    memory, cpu = resources.memory or Memory(), resources.cpu or Cpu()
    if memory.limit and memory.swap and 0 < memory.swap < memory.limit:
        raise Invalid(f"memory and swap together ({memory.swap}) cannot be less than memory ({memory.limit})")
    if memory.limit == -1 and memory.swap and memory.swap > 0:
        raise Invalid("swap cannot be limited where memory is not", fix="set memory.limit too")
    for name, value in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if not set(value) <= set("0123456789,-"):
            raise Invalid(f"cpu.{name} {value[:80]!r} is not a list like 0-3,5")
    for page in resources.hugepage_limits:
        if not (page.page_size[:-2].isdecimal() and page.page_size[-2:] in ("KB", "MB", "GB")):
            raise Invalid(f"{page.page_size[:80]!r} is not a size of huge pages like 2MB")
    priorities = resources.network.priorities if resources.network is not None else []
    for name in [*resources.rdma, *(priority.name for priority in priorities)]:
        if not name.isprintable() or set(name) & set(" /") or not name:
            raise Invalid(f"{name[:80]!r} is not a name of a network device")
    for name, value in resources.unified.items():
        reaches_out = name.startswith("cgroup.") and name not in _SETTABLE
        if "/" in name or "." not in name.strip(".") or not name.isprintable() or reaches_out:
            raise Invalid(f"unified: {name[:80]!r} is not a file that limits a cgroup")
        if "\0" in value:
            raise Invalid(f"unified: the value of {name!r} holds a NUL")


def _check_numbers(record: Record, where: str) -> None:
    ranges = _RANGES.get(type(record), {})
    for name, key in record._names.items():
        value = getattr(record, name)
        if isinstance(value, Record):
            _check_numbers(value, key)
        elif isinstance(value, (list, dict)):
            for item in value.values() if isinstance(value, dict) else value:
                if isinstance(item, Record):
                    _check_numbers(item, key)
        elif name in ranges and value is not None:
            least, most = ranges[name]
            if not least <= value <= most:
                raise Invalid(f"{where}.{key} of {value} is not from {least} to {most}")
    for kind, name, least in _LEASTS:
        if type(record) is kind and 0 < (getattr(record, name) or 0) < least:
            raise Invalid(f"{where}.{name} cannot be less than {least}")


def v1_writes(resources: Resources, has: Has) -> list[Write]:
    """The values for version 1. None and 0 are not asked for where 0 is no limit."""
    out: list[Write] = []
    if memory := resources.memory:
        out += _v1_memory(memory, has)
    if cpu := resources.cpu:
        times = [
            *_asked("cpu.cfs_period_us", cpu.period),
            *_asked("cpu.cfs_quota_us", cpu.quota),
            *_set("cpu.cfs_burst_us", cpu.burst),
        ]
        out.append(("cpu", "cpu", times))
        out.append(("cpu", "cpu", [*_asked("cpu.shares", cpu.shares)]))
        out.append(("cpu", "cpu", [*_set("cpu.idle", cpu.idle)]))
        realtime = [
            *_asked("cpu.rt_period_us", cpu.realtime_period),
            *_set("cpu.rt_runtime_us", cpu.realtime_runtime),
        ]
        out.append(("cpu", "cpu", realtime))
        out.append(("cpuset", "cpuset", _cpuset(cpu)))
    if resources.pids is not None and resources.pids.limit:
        out.append(("pids", "pids", [("pids.max", or_max(resources.pids.limit))]))
    if resources.block_io:
        out += [("blockIO", "blkio", [value]) for value in _v1_block(resources.block_io, has)]
    for page in resources.hugepage_limits:
        name = f"hugetlb.{page.page_size}"
        out.append(("hugepages", "hugetlb", [(f"{name}.limit_in_bytes", str(page.limit))]))
        if has("hugetlb", f"{name}.rsvd.limit_in_bytes"):
            out.append(("hugepages", "hugetlb", [(f"{name}.rsvd.limit_in_bytes", str(page.limit))]))
    if network := resources.network:
        out.append(("network", "net_cls", [*_asked("net_cls.classid", network.class_id)]))
        for priority in network.priorities:
            value = f"{priority.name} {priority.priority}"
            out.append(("network", "net_prio", [("net_prio.ifpriomap", value)]))
    out += _rdma(resources)
    if resources.unified:
        out.append(_nowhere("unified"))
    return [write for write in out if write[2]]


def _v1_memory(memory: Memory, has: Has) -> list[Write]:
    both = "memory.memsw.limit_in_bytes"
    limit = [*_asked("memory.limit_in_bytes", memory.limit)]
    total = [*_asked(both, memory.swap or memory.limit)]
    if has("memory", both):
        out: list[Write] = [("memory", "memory", limit + total)]
    else:  # a kernel that does not count swap; without a wish of its own nothing is missing
        out = [("memory", "memory", limit), ("swap", "memory", total if (memory.swap or 0) > 0 else [])]
    return [
        *out,
        ("memory", "memory", [*_asked("memory.soft_limit_in_bytes", memory.reservation)]),
        ("kernelTCP", "memory", [*_asked("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp)]),
        ("swappiness", "memory", [*_set("memory.swappiness", memory.swappiness)]),
        ("disableOOMKiller", "memory", [("memory.oom_control", "1")] if memory.disable_oom_killer else []),
    ]


def _v1_block(block: BlockIO, has: Has) -> list[tuple[str, str]]:
    kind = "blkio.bfq" if has("blkio", "blkio.bfq.weight") else "blkio"
    out = [*_asked(f"{kind}.weight", block.weight), *_asked("blkio.leaf_weight", block.leaf_weight)]
    for device in block.weight_device:
        at = f"{device.major}:{device.minor} "
        out += [(f"{kind}.weight_device", at + v) for _, v in _asked("", device.weight)]
        out += [("blkio.leaf_weight_device", at + v) for _, v in _asked("", device.leaf_weight)]
    for name, devices in (
        ("read_bps", block.throttle_read_bps_device),
        ("write_bps", block.throttle_write_bps_device),
        ("read_iops", block.throttle_read_iops_device),
        ("write_iops", block.throttle_write_iops_device),
    ):
        out += [(f"blkio.throttle.{name}_device", f"{d.major}:{d.minor} {d.rate}") for d in devices]
    return out


def v2_writes(resources: Resources, has: Has) -> list[Write]:
    """The values for version 2.

    Raises:
        Invalid: a swap limit without a memory limit, which version 2 cannot express.
    """
    out: list[Write] = []
    if memory := resources.memory:
        out += _v2_memory(memory, has)
    if cpu := resources.cpu:
        if cpu.quota or cpu.period:
            quota = cpu.quota if cpu.quota and cpu.quota > 0 else -1
            out.append(("cpu", "cpu", [("cpu.max", f"{or_max(quota)} {cpu.period or PERIOD}")]))
        out.append(("cpu", "cpu", [*_set("cpu.max.burst", cpu.burst)]))
        if cpu.shares:
            out.append(("cpu", "cpu", [("cpu.weight", str(weight(cpu.shares)))]))
        out.append(("cpu", "cpu", [*_set("cpu.idle", cpu.idle)]))
        if cpu.realtime_runtime or cpu.realtime_period:
            out.append(_nowhere("realtime"))
        out.append(("cpuset", "cpuset", _cpuset(cpu)))
    if resources.pids is not None and resources.pids.limit:
        out.append(("pids", "pids", [("pids.max", or_max(resources.pids.limit))]))
    if resources.block_io:
        out += [("blockIO", "io", [value]) for value in _v2_block(resources.block_io, has)]
    for page in resources.hugepage_limits:
        for name in (f"hugetlb.{page.page_size}.max", f"hugetlb.{page.page_size}.rsvd.max"):
            if "rsvd" not in name or has("hugetlb", name):
                out.append(("hugepages", "hugetlb", [(name, str(page.limit))]))
    if resources.network and (resources.network.class_id or resources.network.priorities):
        out.append(_nowhere("network"))
    out += _rdma(resources)
    for name, text in resources.unified.items():  # a line is a write: io.max takes one device at a time
        out.append((name, name.partition(".")[0], [(name, line) for line in text.splitlines() or [""]]))
    return [write for write in out if write[2]]


def _v2_memory(memory: Memory, has: Has) -> list[Write]:
    if (memory.swap or 0) > 0 and not memory.limit:
        raise Invalid("swap cannot be limited where memory is not", fix="set memory.limit too")
    out: list[Write] = []
    if memory.limit:
        out.append(("memory", "memory", [("memory.max", or_max(memory.limit))]))
    if memory.reservation:
        out.append(("memory", "memory", [("memory.low", or_max(memory.reservation))]))
    total = memory.swap or memory.limit
    if total:
        swap = total - memory.limit if memory.limit and min(total, memory.limit) > 0 else -1
        if has("memory", "memory.swap.max"):
            out.append(("swap", "memory", [("memory.swap.max", or_max(swap))]))
        elif swap > 0:
            out.append(("swap", "memory", [("memory.swap.max", str(swap))]))
    for key, asked in (
        ("kernelTCP", memory.kernel_tcp),
        ("swappiness", memory.swappiness is not None),
        ("disableOOMKiller", memory.disable_oom_killer),
    ):
        if asked:
            out.append(_nowhere(key))
    return out


def _v2_block(block: BlockIO, has: Has) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    bfq = has("io", "io.bfq.weight")
    file = "io.bfq.weight" if bfq else "io.weight"
    weights = [("", block.weight), *((f"{d.major}:{d.minor} ", d.weight) for d in block.weight_device)]
    for device, value in weights:
        if value:
            out.append((file, f"{device}{value if bfq else io_weight(value)}"))
    for name, devices in (
        ("rbps", block.throttle_read_bps_device),
        ("wbps", block.throttle_write_bps_device),
        ("riops", block.throttle_read_iops_device),
        ("wiops", block.throttle_write_iops_device),
    ):
        out += [("io.max", f"{d.major}:{d.minor} {name}={d.rate or 'max'}") for d in devices]
    return out


def _cpuset(cpu: Cpu) -> list[tuple[str, str]]:
    return [(f"cpuset.{n}", v) for n, v in (("cpus", cpu.cpus), ("mems", cpu.mems)) if v]


def _rdma(resources: Resources) -> list[Write]:
    out: list[Write] = []
    for device, limits in resources.rdma.items():
        words = [*_set("hca_handle", limits.hca_handles), *_set("hca_object", limits.hca_objects)]
        if words:
            value = " ".join([device, *(f"{key}={count}" for key, count in words)])
            out.append(("rdma", "rdma", [("rdma.max", value)]))
    return out


def _nowhere(what: str) -> Write:
    """What this version has no file for."""
    return what, "", [("", "")]


def _asked(file: str, value: int | None) -> list[tuple[str, str]]:
    """A value where 0 stands for "not asked for"."""
    return [(file, str(value))] if value else []


def _set(file: str, value: int | None) -> list[tuple[str, str]]:
    """A value where 0 is one."""
    return [(file, str(value))] if value is not None else []


def weight(shares: int) -> int:
    """Version 2's CPU weight (1..10000) for version 1's shares (2..262144), as the OCI runtimes convert it."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def io_weight(block: int) -> int:
    """Version 2's io.weight (1..10000) for version 1's blkio weight (10..1000)."""
    return 1 + (min(max(block, 10), 1000) - 10) * 9999 // 990


def or_max(value: int) -> str:
    return str(value) if value >= 0 else "max"
