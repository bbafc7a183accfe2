"""The files of cgroup version 1 and version 2: where they are, what is written into them, what they say.

Both classes offer the same to `cgroups.Cgroup`, which is their only user. Kernel documents: cgroup-v1/, cgroup-v2.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.linux.cgroups import CgroupLimits

CONTROLLERS = ("memory", "cpu", "pids", "freezer")
PERIOD = 100_000
Writes = list[tuple[str, list[tuple[str, str]]]]
"""For each controller, values for files that belong together."""


class V1:
    """One hierarchy for each controller, each with a folder of ours."""

    def __init__(self, root: str, path: str) -> None:
        self.root = root
        self.path = path

    def _mounts(self) -> list[str]:
        names = (*CONTROLLERS, "cpuacct")
        there = [os.path.realpath(f"{self.root}/{n}") for n in names if os.path.isdir(f"{self.root}/{n}")]
        return sorted(set(there))  # cpu and cpuacct are often one

    def folders(self) -> list[str]:
        """Our folder in each hierarchy."""
        return [f"{mount}/{self.path}" for mount in self._mounts()]

    def make(self) -> list[str]:
        """Make the folders; the controllers that are there.

        Raises:
            FileExistsError: one of them was there.
        """
        made: list[str] = []
        try:
            for folder in self.folders():
                _make_folder(folder)
                made.append(folder)
        except OSError:
            for folder in made:
                os.rmdir(folder)
            raise
        return [name for name in CONTROLLERS if os.path.isdir(f"{self.root}/{name}")]

    def _file(self, controller: str, name: str) -> str:
        return f"{self.root}/{controller}/{self.path}/{name}"

    def writes(self, limits: CgroupLimits) -> Writes:
        """What has to be written for these limits."""
        out: Writes = []
        if limits.memory:
            memory = (self._file("memory", "memory.limit_in_bytes"), str(limits.memory))
            total = limits.swap or limits.memory
            both = self._file("memory", "memory.memsw.limit_in_bytes")
            if os.path.exists(both):
                out.append(("memory", [memory, (both, str(total))]))
            else:  # a kernel that does not count swap
                out += [("memory", [memory]), ("swap", [(both, str(total))])]
        if limits.cpu_period:
            out.append(("cpu", [(self._file("cpu", "cpu.cfs_period_us"), str(limits.cpu_period))]))
        if limits.cpu_quota:
            quota = limits.cpu_quota if limits.cpu_quota > 0 else -1
            out.append(("cpu", [(self._file("cpu", "cpu.cfs_quota_us"), str(quota))]))
        if limits.cpu_shares:
            out.append(("cpu", [(self._file("cpu", "cpu.shares"), str(limits.cpu_shares))]))
        if limits.pids:
            out.append(("pids", [(self._file("pids", "pids.max"), _or_max(limits.pids))]))
        return out

    def stats(self) -> dict[str, int]:
        limit = read_int(self._file("memory", "memory.limit_in_bytes"))
        return {
            "memory": read_int(self._file("memory", "memory.usage_in_bytes")),
            "memory_peak": read_int(self._file("memory", "memory.max_usage_in_bytes")),
            "memory_inactive": read_field(self._file("memory", "memory.stat"), "total_inactive_file"),
            "memory_limit": limit if limit < 1 << 62 else 0,
            "cpu_ns": read_int(self._file("cpuacct", "cpuacct.usage")),
            "pids": read_int(self._file("pids", "pids.current")),
            "oom_kills": read_field(self._file("memory", "memory.oom_control"), "oom_kill"),
        }

    def freeze_write(self, frozen: bool) -> tuple[str, str]:
        return self._file("freezer", "freezer.state"), "FROZEN" if frozen else "THAWED"

    def is_frozen(self) -> bool:
        return _read(self._file("freezer", "freezer.state")).strip() == "FROZEN"

    def remove_empty(self, base: str) -> None:
        for mount in self._mounts():
            _remove_if_empty(f"{mount}/{base}")


class V2:
    """One folder; controllers are switched on from the root down to it."""

    def __init__(self, root: str, path: str) -> None:
        self.root = root
        self.path = path
        self.folder = f"{root}/{path}"

    def folders(self) -> list[str]:
        return [self.folder] if os.path.isdir(self.folder) else []

    def make(self) -> list[str]:
        """Make the folder; the controllers that could be switched on.

        Raises:
            FileExistsError: it was there.
        """
        above = self.root
        for part in self.path.split("/"):
            for controller in ("memory", "cpu", "pids"):
                _switch_on(above, controller)
            above = f"{above}/{part}"
            if above != self.folder:
                os.makedirs(above, exist_ok=True)
        _make_folder(self.folder)
        there = _read(f"{self.folder}/cgroup.controllers").split()
        if os.path.exists(f"{self.folder}/cgroup.freeze"):
            there.append("freezer")
        return there

    def writes(self, limits: CgroupLimits) -> Writes:
        out: Writes = []
        if limits.memory:
            total = limits.swap or limits.memory
            swap = total - limits.memory if total >= 0 and limits.memory >= 0 else -1
            out.append(("memory", [(f"{self.folder}/memory.max", _or_max(limits.memory))]))
            out.append(("swap", [(f"{self.folder}/memory.swap.max", _or_max(swap))]))
        if limits.cpu_quota or limits.cpu_period:
            quota = limits.cpu_quota if limits.cpu_quota and limits.cpu_quota > 0 else -1
            value = f"{_or_max(quota)} {limits.cpu_period or PERIOD}"
            out.append(("cpu", [(f"{self.folder}/cpu.max", value)]))
        if limits.cpu_shares:
            out.append(("cpu", [(f"{self.folder}/cpu.weight", str(weight(limits.cpu_shares)))]))
        if limits.pids:
            out.append(("pids", [(f"{self.folder}/pids.max", _or_max(limits.pids))]))
        return out

    def stats(self) -> dict[str, int]:
        return {
            "memory": read_int(f"{self.folder}/memory.current"),
            "memory_peak": read_int(f"{self.folder}/memory.peak"),
            "memory_inactive": read_field(f"{self.folder}/memory.stat", "inactive_file"),
            "memory_limit": read_int(f"{self.folder}/memory.max"),
            "cpu_ns": read_field(f"{self.folder}/cpu.stat", "usage_usec") * 1000,
            "pids": read_int(f"{self.folder}/pids.current"),
            "oom_kills": read_field(f"{self.folder}/memory.events", "oom_kill"),
        }

    def freeze_write(self, frozen: bool) -> tuple[str, str]:
        return f"{self.folder}/cgroup.freeze", str(int(frozen))

    def is_frozen(self) -> bool:
        return read_field(f"{self.folder}/cgroup.events", "frozen") == 1

    def remove_empty(self, base: str) -> None:
        _remove_if_empty(f"{self.root}/{base}")


def weight(shares: int) -> int:
    """Version 2's CPU weight (1..10000) for version 1's shares (2..262144), as the OCI runtimes convert it."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def read_int(file: str) -> int:
    """The number in a file; 0 for `max`, and where the file is not there."""
    text = _read(file).strip()
    return int(text) if text.isdigit() else 0


def read_field(file: str, key: str) -> int:
    """The number behind `key` in a file of `key number` lines; 0 where it is not there."""
    for line in _read(file).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def _read(file: str) -> str:
    try:
        with open(file) as text:
            return text.read()
    except OSError:
        return ""


def _or_max(value: int) -> str:
    return str(value) if value >= 0 else "max"


def _make_folder(folder: str) -> None:
    """Make the last folder of a path, and those above it that another container's end may just take away."""
    for attempt in range(5):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        try:
            os.mkdir(folder)
        except FileNotFoundError:
            if attempt == 4:
                raise
        else:
            return


def _switch_on(folder: str, controller: str) -> None:
    try:
        with open(f"{folder}/cgroup.subtree_control", "w") as file:
            file.write(f"+{controller}")
    except OSError:  # not there, not ours, or the group holds processes: what is missing shows in the end
        return


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        return
