"""What a cgroup uses, as containerd's clients read it: io.containerd.cgroups.v1.Metrics or v2.Metrics.

The numbers are those of `linux.cgroup_stats`; field numbers are those of containerd/cgroups, cgroup1 and cgroup2,
stats/metrics.proto. What the kernel does not say is left out, which is 0.
"""

from __future__ import annotations

from sampan.doors.shim.messages import Any
from sampan.wire.protobuf import by_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as AnyType

    from sampan.linux.cgroups import Cgroup

    Stats = dict[str, AnyType]

MEMORY_1 = (
    "cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault", "pgmajfault",
    "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "hierarchical_memory_limit",
    "hierarchical_memsw_limit", "total_cache", "total_rss", "total_rss_huge", "total_mapped_file", "total_dirty",
    "total_writeback", "total_pgpgin", "total_pgpgout", "total_pgfault", "total_pgmajfault", "total_inactive_anon",
    "total_active_anon", "total_inactive_file", "total_active_file", "total_unevictable",
)  # fmt: skip
"""The kernel's names in memory.stat of version 1, in the order of their field numbers from 1."""
MEMORY_2 = (
    "anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback", "anon_thp",
    "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "slab_reclaimable",
    "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault", "workingset_activate",
    "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate", "pgdeactivate", "pglazyfree",
    "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc",
)  # fmt: skip
"""The same for version 2."""
_BLOCK = ("ioServiceBytesRecursive", "ioServicedRecursive")
_IO_2 = {("ioServiceBytesRecursive", "Read"): 3, ("ioServiceBytesRecursive", "Write"): 4,
         ("ioServicedRecursive", "Read"): 5, ("ioServicedRecursive", "Write"): 6}  # fmt: skip
NO_LIMIT = (1 << 64) - 1


def measure(cgroup: Cgroup) -> Any:
    """What the group uses now."""
    stats = cgroup.detailed_stats()
    if cgroup.version == "v2":
        return Any("io.containerd.cgroups.v2.Metrics", _v2(stats, cgroup.oom_kills()))
    return Any("io.containerd.cgroups.v1.Metrics", _v1(stats, cgroup.oom_kills()))


def _v1(stats: Stats, oom_kills: int) -> bytes:
    usage, throttling = stats["cpu"]["usage"], stats["cpu"]["throttling"]
    memory = stats["memory"]
    entries = {
        number: _memory_entry(memory.get(name, {}))
        for number, name in enumerate(("usage", "swap", "kernel", "kernelTCP"), 33)
    }
    return by_number(
        {
            1: [
                by_number(
                    {1: found.get("usage", 0), 2: found.get("max", 0), 3: found.get("failcnt", 0), 4: size}
                )
                for size, found in stats["hugetlb"].items()
            ],
            2: _pids(stats),
            3: by_number(
                {
                    1: by_number(
                        {
                            1: usage.get("total", 0),
                            2: usage["kernel"],
                            3: usage["user"],
                            4: usage.get("percpu", []),
                        }
                    ),
                    2: by_number(
                        {
                            1: throttling.get("periods", 0),
                            2: throttling.get("throttledPeriods", 0),
                            3: throttling.get("throttledTime", 0),
                        }
                    ),
                }
            ),
            4: by_number({**_in_order(memory.get("raw", {}), MEMORY_1), **entries}),
            5: by_number(
                {
                    number: [_block_entry(entry) for entry in stats["blkio"].get(name, [])]
                    for number, name in enumerate(_BLOCK, 1)
                }
            ),
            9: by_number({3: oom_kills}),
        }
    )


def _v2(stats: Stats, oom_kills: int) -> bytes:
    usage, throttling = stats["cpu"]["usage"], stats["cpu"]["throttling"]
    memory = stats["memory"]
    used, swap = memory.get("usage", {}), memory.get("swap", {})
    limits = (used.get("limit", 0), swap.get("limit", 0))
    own = {
        32: used.get("usage", 0),
        33: limits[0],
        34: swap.get("usage", 0) - used.get("usage", 0),  # the stats count memory in it, too
        35: NO_LIMIT if NO_LIMIT in limits else limits[1] - limits[0],
        36: used.get("max", 0),
    }
    return by_number(
        {
            1: _pids(stats),
            2: by_number(
                {
                    1: usage.get("total", 0) // 1000,
                    2: usage["user"] // 1000,
                    3: usage["kernel"] // 1000,
                    4: throttling.get("periods", 0),
                    5: throttling.get("throttledPeriods", 0),
                    6: throttling.get("throttledTime", 0) // 1000,
                }
            ),
            4: by_number({**_in_order(memory.get("raw", {}), MEMORY_2), **own}),
            6: by_number({1: _io(stats)}),
            7: [
                by_number({1: found.get("usage", 0), 3: size, 4: found.get("failcnt", 0)})
                for size, found in stats["hugetlb"].items()
            ],
            8: by_number({5: oom_kills}),
        }
    )


def _pids(stats: Stats) -> bytes:
    return by_number({1: stats["pids"].get("current", 0), 2: stats["pids"].get("limit", 0)})


def _in_order(raw: Stats, names: tuple[str, ...]) -> dict[int, int]:
    return {number: raw.get(name, 0) for number, name in enumerate(names, 1)}


def _memory_entry(found: Stats) -> bytes:
    return by_number(
        {number: found.get(name, 0) for number, name in enumerate(("limit", "usage", "max", "failcnt"), 1)}
    )


def _block_entry(entry: Stats) -> bytes:
    device = {3: entry.get("major", 0), 4: entry.get("minor", 0)}
    return by_number({1: entry.get("op", ""), **device, 5: entry.get("value", 0)})


def _io(stats: Stats) -> list[bytes]:
    """One message for each device, of the four counters that the stats have apart."""
    devices: dict[tuple[int, int], dict[int, int]] = {}
    for name in _BLOCK:
        for entry in stats["blkio"].get(name, []):
            device = entry.get("major", 0), entry.get("minor", 0)
            devices.setdefault(device, {1: device[0], 2: device[1]})[_IO_2[name, entry["op"]]] = entry.get(
                "value", 0
            )
    return [by_number({**values}) for values in devices.values()]
