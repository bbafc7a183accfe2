"""Which processes a container has and what they use now: from its cgroup, or from /proc where it has none."""

from __future__ import annotations

import os
import time

from sampan.container.status import cgroup_at
from sampan.core.errors import NotFound
from sampan.core.record import Record
from sampan.linux.processes import read_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry


class Usage(Record):
    """`at` and `cpu` in ns (the clock's and what was used so far), memory in bytes, `pids` with threads.

    `memory_limit` is the machine's memory where there is no other limit.
    """

    at: int
    cpu: int
    memory: int
    memory_limit: int
    pids: int


def processes_of(entry: Entry) -> list[int]:
    """The processes of a container, its own one first; none where it does not run."""
    run = entry.running
    if run is None or not entry.is_alive():
        return []
    first, _ = run.target
    others = cgroup_at(entry).pids()
    return [first, *(pid for pid in others if pid != first)]


def measure(entry: Entry) -> Usage | None:
    """What a container uses; None where it does not run."""
    pids = processes_of(entry)
    if not pids:
        return None
    cgroup = cgroup_at(entry)
    if pids[0] not in cgroup.pids():
        return _measure_process(pids[0], entry)
    stats = cgroup.stats()
    memory = max(0, stats.memory - stats.memory_inactive)
    limit = min(stats.memory_limit or _total_memory(), _total_memory())
    return Usage(time.monotonic_ns(), stats.cpu_ns, memory, limit, stats.pids or len(pids))


def _measure_process(pid: int, entry: Entry) -> Usage | None:
    try:
        stat = read_stat(pid)
    except NotFound:
        return None
    limits = entry.container.limits
    limit = (limits.memory if limits is not None else None) or _total_memory()
    return Usage(time.monotonic_ns(), stat.cpu_ns, stat.memory, limit, stat.threads)


def _total_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
