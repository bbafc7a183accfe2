"""The folders of a cgroup in version 1 and version 2: where they are, how they are made, what they say now.

Both classes offer the same to `cgroups.Cgroup` and `cgroup_stats`, which are their only users. What limits are written
is `cgroup_limits`. Only the group itself is ever removed, and the empty group of ours above it. Kernel documents:
cgroup-v1/, cgroup-v2.
"""

from __future__ import annotations

import os

from sampan.linux.cgroup_limits import v1_writes, v2_writes
from sampan.linux.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import DeviceRule, Resources
    from sampan.linux.cgroup_limits import Write

LIMITING = ("memory", "cpu", "pids", "freezer")
"""Controllers of which at least one has to be there for a hierarchy of version 1 to be of use."""


class V1:
    """One hierarchy for each controller, or for several together, each with a folder of the group.

    Attributes:
        mounts: where the hierarchy of a controller is mounted; `systemd` is the named hierarchy that it keeps.
    """

    def __init__(self, root: str, path: str) -> None:
        self.root = root
        self.path = path
        self.mounts: dict[str, str] = {}
        with os.scandir(root) as entries:
            for entry in entries:
                folder = entry.path
                if not entry.is_symlink() and entry.name != "unified" and os.path.exists(f"{folder}/tasks"):
                    self.mounts.update(dict.fromkeys(entry.name.split(","), folder))

    def folders(self) -> list[str]:
        """The group's folder in each hierarchy, there or not."""
        return [f"{mount}/{self.path}" for mount in dict.fromkeys(self.mounts.values())]

    def all_folders(self) -> list[str]:
        """The same, with that of the bare version 2 beside them, where the runtime for Linux containers makes one."""
        return [*self.folders(), f"{self.root}/unified/{self.path}"]

    def make(self, join: bool) -> None:
        """Make the folders; with `join` those that are there are used.

        Raises:
            FileExistsError: one of them was there; none is made.
        """
        made: set[str] = set()
        try:
            for folder in self.folders():
                if _make_folder(folder, join):
                    made.add(folder)
            if "cpuset" in self.mounts:
                self._inherit_cpuset()
        except OSError:
            for folder in made:
                remove_if_empty(folder)
            raise

    def _inherit_cpuset(self) -> None:
        """A new cpuset is empty, and takes no process before it has CPUs and memory: those of the group above."""
        for name in ("cpuset.cpus", "cpuset.mems"):
            folder = self.mounts["cpuset"]
            above = read_text(f"{folder}/{name}").strip()
            for part in self.path.split("/"):
                folder = f"{folder}/{part}"
                own = read_text(f"{folder}/{name}").strip()
                if not own:
                    write(f"{folder}/{name}", above)
                above = own or above

    def file(self, controller: str, name: str) -> str | None:
        """A file of the group; None where the controller is not mounted."""
        mount = self.mounts.get(controller)
        return f"{mount}/{self.path}/{name}" if mount else None

    def writes(self, resources: Resources) -> list[Write]:
        """What has to be written for these limits."""
        return v1_writes(resources, self.has)

    def has(self, controller: str, name: str) -> bool:
        file = self.file(controller, name)
        return file is not None and os.path.exists(file)

    def set_devices(self, rules: list[DeviceRule]) -> bool:
        """Let the devices through that the rules say; false where this cannot be had."""
        from sampan.linux.cgroup_devices import policy, v1_values

        values = v1_values(policy(rules))
        if "devices" not in self.mounts:
            return False
        for name, lines in values:
            write(f"{self.mounts['devices']}/{self.path}/{name}", *lines)
        return True

    def stats(self) -> dict[str, int]:
        memory, limit = self._folder("memory"), read_int(f"{self._folder('memory')}/memory.limit_in_bytes")
        return {
            "memory": read_int(f"{memory}/memory.usage_in_bytes"),
            "memory_peak": read_int(f"{memory}/memory.max_usage_in_bytes"),
            "memory_inactive": read_fields(f"{memory}/memory.stat").get("total_inactive_file", 0),
            "memory_limit": limit if limit < 1 << 62 else 0,
            "cpu_ns": read_int(f"{self._folder('cpuacct')}/cpuacct.usage"),
            "pids": read_int(f"{self._folder('pids')}/pids.current"),
            "oom_kills": self.oom_kills(),
        }

    def _folder(self, controller: str) -> str:
        return f"{self.mounts.get(controller, f'{self.root}/{controller}')}/{self.path}"

    def oom_kills(self) -> int:
        return read_fields(f"{self._folder('memory')}/memory.oom_control").get("oom_kill", 0)

    def freeze_write(self, frozen: bool) -> tuple[str, str]:
        return f"{self._folder('freezer')}/freezer.state", "FROZEN" if frozen else "THAWED"

    @property
    def frozen_file(self) -> str:
        return self.freeze_write(True)[0]

    def is_frozen(self) -> bool:
        return read_text(self.frozen_file).strip() == "FROZEN"


class V2:
    """One folder; controllers are switched on from the root down to it."""

    def __init__(self, root: str, path: str) -> None:
        self.root = root
        self.path = path
        self.folder = f"{root}/{path}"

    def folders(self) -> list[str]:
        return [self.folder]

    def all_folders(self) -> list[str]:
        return [self.folder]

    def make(self, join: bool) -> None:
        """As `V1.make`; the controllers of each group above are switched on as far as that group has them."""
        above = self.root
        for part in self.path.split("/"):
            _switch_on(above)
            above = f"{above}/{part}"
            if above != self.folder:
                _make_folder(above, True)
        _make_folder(self.folder, join)

    def file(self, controller: str, name: str) -> str | None:
        """A file of the group; None for what version 2 has no file for."""
        return f"{self.folder}/{name}" if controller else None

    def writes(self, resources: Resources) -> list[Write]:
        return v2_writes(resources, self.has)

    def has(self, controller: str, name: str) -> bool:
        return os.path.exists(f"{self.folder}/{name}")

    def set_devices(self, rules: list[DeviceRule]) -> bool:
        from sampan.linux.cgroup_devices import attach, policy

        chosen = policy(rules)
        try:
            attach(self.folder, chosen)
        except OSError:  # no such right (a plain user), or a kernel without it
            return False
        return True

    def stats(self) -> dict[str, int]:
        return {
            "memory": read_int(f"{self.folder}/memory.current"),
            "memory_peak": read_int(f"{self.folder}/memory.peak"),
            "memory_inactive": read_fields(f"{self.folder}/memory.stat").get("inactive_file", 0),
            "memory_limit": read_int(f"{self.folder}/memory.max"),
            "cpu_ns": read_fields(f"{self.folder}/cpu.stat").get("usage_usec", 0) * 1000,
            "pids": read_int(f"{self.folder}/pids.current"),
            "oom_kills": self.oom_kills(),
        }

    def oom_kills(self) -> int:
        return read_fields(f"{self.folder}/memory.events").get("oom_kill", 0)

    def freeze_write(self, frozen: bool) -> tuple[str, str]:
        return f"{self.folder}/cgroup.freeze", str(int(frozen))

    @property
    def frozen_file(self) -> str:
        return f"{self.folder}/cgroup.events"

    def is_frozen(self) -> bool:
        return read_fields(self.frozen_file).get("frozen", 0) == 1


def write(file: str, *values: str) -> None:
    """Write values into a file, each by a call of its own."""
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for value in values:
            os.write(fd, value.encode())
    except OSError as error:
        error.filename = file
        raise
    finally:
        os.close(fd)


def read_text(file: str) -> str:
    """What a file says; nothing where it is not there."""
    try:
        return read_file(file).decode()
    except OSError:  # the group was removed meanwhile, too
        return ""


def read_int(file: str) -> int:
    """The number in a file; 0 for `max`, and where the file is not there."""
    text = read_text(file).strip()
    return int(text) if text.isdigit() else 0


def read_fields(file: str) -> dict[str, int]:
    """A file of `key number` lines."""
    pairs = (line.split() for line in read_text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _make_folder(folder: str, join: bool) -> bool:
    """Make the last folder of a path, and those above it that another container's end may just take away."""
    for attempt in range(5):
        try:
            os.mkdir(folder)
            return True
        except FileExistsError:
            if not join:
                raise
            return False
        except FileNotFoundError:
            if attempt == 4:
                raise
            os.makedirs(os.path.dirname(folder), exist_ok=True)
    return False


def _switch_on(folder: str) -> None:
    """Give all controllers of a group to the groups below it, or as many as the kernel lets."""
    have = set(read_text(f"{folder}/cgroup.subtree_control").split())
    words = [f"+{name}" for name in read_text(f"{folder}/cgroup.controllers").split() if name not in have]
    if not words:
        return
    try:
        write(f"{folder}/cgroup.subtree_control", " ".join(words))
    except OSError:
        for word in words:
            try:
                write(f"{folder}/cgroup.subtree_control", word)
            except OSError:  # not ours, or processes are in it: shows as missing when a limit is set
                continue


def remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        return
