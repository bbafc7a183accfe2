"""What a cgroup uses, in the shape that runc prints for `events --stats` (its types.Stats).

Memory in bytes, CPU times in nanoseconds. Only read, and only when asked for; a file that is not there is left out, as
runc leaves out what is zero. Nothing is measured over time: whoever asks twice has a rate.
"""

from __future__ import annotations

import os

from sampan.linux.cgroup_files import V1, V2, read_fields, read_int, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NO_LIMIT = (1 << 64) - 1
_BLOCK = {
    "ioServiceBytesRecursive": "io_service_bytes_recursive",
    "ioServicedRecursive": "io_serviced_recursive",
}
_CPUSET = ("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
           "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level")  # fmt: skip


def measure(files: V1 | V2) -> dict[str, Any]:
    """The `data` of an event of type `stats`: cpu, cpuset, memory, pids, blkio, hugetlb and intel_rdt."""
    found = _v2(files.folder) if isinstance(files, V2) else _v1(files)
    return {**found, "intel_rdt": {}, "network_interfaces": None}


def _v1(files: V1) -> dict[str, Any]:
    folder = {name: f"{mount}/{files.path}" for name, mount in files.mounts.items()}
    return {
        "cpu": _v1_cpu(folder.get("cpuacct", ""), folder.get("cpu", "")),
        "cpuset": _cpuset(folder.get("cpuset", "")),
        "memory": _v1_memory(folder.get("memory", "")),
        "pids": _pids(folder.get("pids", "")),
        "blkio": _v1_block(folder.get("blkio", "")),
        "hugetlb": _v1_hugetlb(folder.get("hugetlb", "")),
    }


def _v1_cpu(account: str, schedule: str) -> dict[str, Any]:
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    times = read_fields(f"{account}/cpuacct.stat")
    usage: dict[str, Any] = {
        "total": read_int(f"{account}/cpuacct.usage"),
        "percpu": [int(n) for n in read_text(f"{account}/cpuacct.usage_percpu").split()],
        "percpu_kernel": [int(n) for n in read_text(f"{account}/cpuacct.usage_percpu_sys").split()],
        "percpu_user": [int(n) for n in read_text(f"{account}/cpuacct.usage_percpu_user").split()],
        "kernel": times.get("system", 0) * tick,
        "user": times.get("user", 0) * tick,
    }
    held = read_fields(f"{schedule}/cpu.stat")
    throttling = {
        "periods": held.get("nr_periods", 0),
        "throttledPeriods": held.get("nr_throttled", 0),
        "throttledTime": held.get("throttled_time", 0),
    }
    return {"usage": _unless_empty(usage, "kernel", "user"), "throttling": _unless_empty(throttling)}


def _cpuset(folder: str) -> dict[str, Any]:
    lists = {
        key: _numbers(read_text(f"{folder}/cpuset.{name}"))
        for key, name in (("cpus", "cpus"), ("mems", "mems"))
    }
    values = {name: int(read_text(f"{folder}/cpuset.{name}").strip() or 0) for name in _CPUSET}
    return {**_unless_empty(lists), **values}


def _numbers(text: str) -> list[int]:
    """`0-2,5` as its numbers."""
    out: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            out += range(int(first), int(last or first) + 1)
    return out


def _v1_memory(folder: str) -> dict[str, Any]:
    raw = read_fields(f"{folder}/memory.stat")

    def entry(kind: str) -> dict[str, int]:
        return _unless_empty(
            {
                "limit": read_int(f"{folder}/memory.{kind}limit_in_bytes"),
                "usage": read_int(f"{folder}/memory.{kind}usage_in_bytes"),
                "max": read_int(f"{folder}/memory.{kind}max_usage_in_bytes"),
                "failcnt": read_int(f"{folder}/memory.{kind}failcnt"),
            },
            "limit",
            "failcnt",
        )

    memory = {
        "cache": raw.get("cache", 0),
        "usage": entry(""),
        "swap": entry("memsw."),
        "kernel": entry("kmem."),
        "kernelTCP": entry("kmem.tcp."),
        "raw": raw,
    }
    return _unless_empty(memory)


def _pids(folder: str) -> dict[str, int]:
    return _unless_empty(
        {"current": read_int(f"{folder}/pids.current"), "limit": read_int(f"{folder}/pids.max")}
    )


def _v1_block(folder: str) -> dict[str, Any]:
    """The counters of the scheduler that has some: bfq, else those of throttling."""
    out: dict[str, Any] = {}
    for key, name in _BLOCK.items():
        for kind in ("bfq", "throttle"):
            entries = []
            for line in read_text(f"{folder}/blkio.{kind}.{name}").splitlines():
                words = line.replace(":", " ").split()
                if len(words) == 4:
                    entries.append(_block_entry(int(words[0]), int(words[1]), words[2], int(words[3])))
            if entries:
                out[key] = entries
                break
    return out


def _block_entry(major: int, minor: int, op: str, value: int) -> dict[str, Any]:
    return _unless_empty({"major": major, "minor": minor, "op": op, "value": value})


def _page_sizes(folder: str, ending: str) -> list[str]:
    """The sizes of huge pages that this group counts: `2MB` of `hugetlb.2MB.max`."""
    try:
        names = os.listdir(folder) if folder else []
    except OSError:
        return []
    parts = [name.split(".") for name in names if name.startswith("hugetlb.") and name.endswith(f".{ending}")]
    return sorted(words[1] for words in parts if len(words) == 3)


def _v1_hugetlb(folder: str) -> dict[str, Any]:
    out = {}
    for size in _page_sizes(folder, "limit_in_bytes"):
        counted = {
            "usage": read_int(f"{folder}/hugetlb.{size}.usage_in_bytes"),
            "max": read_int(f"{folder}/hugetlb.{size}.max_usage_in_bytes"),
            "failcnt": read_int(f"{folder}/hugetlb.{size}.failcnt"),
        }
        out[size] = _unless_empty(counted, "failcnt")
    return out


def _v2(folder: str) -> dict[str, Any]:
    times = read_fields(f"{folder}/cpu.stat")
    usage = {
        "total": times.get("usage_usec", 0) * 1000,
        "kernel": times.get("system_usec", 0) * 1000,
        "user": times.get("user_usec", 0) * 1000,
    }
    throttling = {
        "periods": times.get("nr_periods", 0),
        "throttledPeriods": times.get("nr_throttled", 0),
        "throttledTime": times.get("throttled_usec", 0) * 1000,
    }
    return {
        "cpu": {"usage": _unless_empty(usage, "kernel", "user"), "throttling": _unless_empty(throttling)},
        "cpuset": _cpuset(""),
        "memory": _v2_memory(folder),
        "pids": _pids(folder),
        "blkio": _v2_block(folder),
        "hugetlb": {
            size: _unless_empty(
                {
                    "usage": read_int(f"{folder}/hugetlb.{size}.current"),
                    "failcnt": read_fields(f"{folder}/hugetlb.{size}.events").get("max", 0),
                },
                "failcnt",
            )
            for size in _page_sizes(folder, "max")
        },
    }


def _v2_memory(folder: str) -> dict[str, Any]:
    """Swap counts memory too, as version 1 counts it and runc's readers expect it."""
    raw = read_fields(f"{folder}/memory.stat")
    used, limit = read_int(f"{folder}/memory.current"), _v2_limit(f"{folder}/memory.max")
    swap_limit = _v2_limit(f"{folder}/memory.swap.max")
    usage = {"limit": limit, "usage": used, "max": read_int(f"{folder}/memory.peak"), "failcnt": 0}
    swap = {
        "limit": NO_LIMIT if NO_LIMIT in (limit, swap_limit) else limit + swap_limit,
        "usage": used + read_int(f"{folder}/memory.swap.current"),
        "failcnt": 0,
    }
    memory = {
        "cache": raw.get("file", 0),
        "usage": _unless_empty(usage, "limit", "failcnt"),
        "swap": _unless_empty(swap, "limit", "failcnt"),
        "kernel": {"limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 0},
        "raw": raw,
    }
    return _unless_empty(memory)


def _v2_limit(file: str) -> int:
    return NO_LIMIT if read_text(file).strip() == "max" else read_int(file)


def _v2_block(folder: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    names = {"rbytes": ("ioServiceBytesRecursive", "Read"), "wbytes": ("ioServiceBytesRecursive", "Write"),
             "rios": ("ioServicedRecursive", "Read"), "wios": ("ioServicedRecursive", "Write")}  # fmt: skip
    for line in read_text(f"{folder}/io.stat").splitlines():
        device, *values = line.split()
        major, _, minor = device.partition(":")
        for value in values:
            name, _, count = value.partition("=")
            if name in names and minor:
                key, op = names[name]
                out.setdefault(key, []).append(_block_entry(int(major), int(minor), op, int(count)))
    return out


def _unless_empty(values: dict[str, Any], *kept: str) -> dict[str, Any]:
    """Without what is 0 or empty, but for the names to keep: Go's `omitempty`."""
    return {name: value for name, value in values.items() if value or name in kept}
