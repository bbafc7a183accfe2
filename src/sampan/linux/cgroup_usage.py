"""What a cgroup uses, as far as a kubelet asks for it every few seconds: few files are read, and only read.

Bytes, and nanoseconds of CPU time. What is not there counts as 0. cgroup-v1/memory.rst, cgroup-v2.rst.
"""

from __future__ import annotations

from sampan.core.record import Record
from sampan.linux.cgroup_files import V1, V2, read_fields, read_int

UNLIMITED = 1 << 62  # version 1 writes a very large number where there is no limit


class CgroupUsage(Record):
    """`limit` and `swap_limit` are 0 where there is none; `swap_limit` is for swap alone.

    `inactive_file` is the part of `memory` that is file cache and goes when it is needed. `processes` counts threads.
    """

    cpu_ns: int = 0
    memory: int = 0
    inactive_file: int = 0
    limit: int = 0
    rss: int = 0
    faults: int = 0
    major_faults: int = 0
    swap: int = 0
    swap_limit: int = 0
    processes: int = 0
    oom_kills: int = 0

    @property
    def working_set(self) -> int:
        """The memory that cannot be taken away."""
        return max(0, self.memory - self.inactive_file)

    def plus(self, other: CgroupUsage) -> CgroupUsage:
        """What both use together."""
        return CgroupUsage(*(getattr(self, name) + getattr(other, name) for name in self._names))


def usage_of(files: V1 | V2) -> CgroupUsage:
    """What a group uses now."""
    return _v2(files) if isinstance(files, V2) else _v1(files)


def _v1(files: V1) -> CgroupUsage:
    memory = f"{files.mounts.get('memory', '')}/{files.path}/memory"
    fields = read_fields(f"{memory}.stat")
    used, both = read_int(f"{memory}.usage_in_bytes"), read_int(f"{memory}.memsw.usage_in_bytes")
    limit = _limit(read_int(f"{memory}.limit_in_bytes"))
    both_limit = _limit(read_int(f"{memory}.memsw.limit_in_bytes"))
    return CgroupUsage(
        read_int(f"{files.mounts.get('cpuacct', '')}/{files.path}/cpuacct.usage"),
        used,
        fields.get("total_inactive_file", 0),
        limit,
        fields.get("total_rss", 0),
        fields.get("total_pgfault", 0),
        fields.get("total_pgmajfault", 0),
        max(0, both - used) if both else 0,
        max(0, both_limit - limit) if both_limit else 0,
        read_int(f"{files.mounts.get('pids', '')}/{files.path}/pids.current"),
        files.oom_kills(),
    )


def _v2(files: V2) -> CgroupUsage:
    folder = files.folder
    fields = read_fields(f"{folder}/memory.stat")
    return CgroupUsage(
        read_fields(f"{folder}/cpu.stat").get("usage_usec", 0) * 1000,
        read_int(f"{folder}/memory.current"),
        fields.get("inactive_file", 0),
        read_int(f"{folder}/memory.max"),
        fields.get("anon", 0),
        fields.get("pgfault", 0),
        fields.get("pgmajfault", 0),
        read_int(f"{folder}/memory.swap.current"),
        read_int(f"{folder}/memory.swap.max"),
        read_int(f"{folder}/pids.current"),
        files.oom_kills(),
    )


def _limit(value: int) -> int:
    return value if value < UNLIMITED else 0
