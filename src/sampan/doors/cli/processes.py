"""The processes of a container, its own and those of `exec`, and what they use, from cgroup and /proc."""

from __future__ import annotations

import os

from sampan.core.errors import SampanError
from sampan.core.record import Record
from sampan.linux.cgroups import Cgroup, CgroupStats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class ProcessLine(Record):
    """One process: `cpu` in seconds, `begun` in seconds after boot, `memory` and its resident part in bytes."""

    pid: int
    ppid: int
    uid: int
    threads: int
    cpu: float
    begun: float
    memory: int


def pids_of(entry: Entry) -> list[int]:
    """The container's processes, its own first; none when it does not run."""
    run = entry.running
    if run is None or not entry.is_alive():
        return []
    try:
        others = Cgroup(entry.container.id).pids()
    except SampanError:
        others = []
    return [run.pid, *(pid for pid in others if pid != run.pid)]


def look(pid: int) -> ProcessLine | None:
    """What /proc says of a process; None when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    cpu = (int(fields[11]) + int(fields[12])) / TICKS
    return ProcessLine(
        pid, int(fields[1]), uid, int(fields[17]), cpu, int(fields[19]) / TICKS, int(fields[21]) * PAGE
    )


def usage_of(entry: Entry) -> CgroupStats:
    """What the container uses: its cgroup's figures, or those of its processes where it has none."""
    stats = Cgroup(entry.container.id).stats()
    if stats.pids:
        return stats
    lines = [line for pid in pids_of(entry) if (line := look(pid)) is not None]
    return CgroupStats(
        memory=sum(line.memory for line in lines),
        cpu_ns=int(sum(line.cpu for line in lines) * 10**9),
        pids=sum(line.threads for line in lines),
    )
