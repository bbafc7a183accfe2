"""Control groups: what a container may use, what it used, and whether its limit killed it. cgroups(7).

One `Cgroup` for version 1, version 2 and the mixed form; what differs is in `cgroup_files`. Limits are the spec's
`Resources` (config-linux.md, "Control groups"). A memory limit means memory and swap together, so a container cannot
use more by swapping. What the host cannot limit, or we may not, is listed in `missing`, and judged by the caller.
"""

from __future__ import annotations

import os
import time
from errno import EBUSY, EINVAL, ENODEV, ENOTEMPTY, EOPNOTSUPP, ERANGE

from sampan.core.errors import (
    Exists,
    Invalid,
    NotFound,
    Precondition,
    SampanError,
    TimedOut,
    Unimplemented,
    from_os_error,
)
from sampan.core.record import Record
from sampan.linux.cgroup_files import LIMITING, V1, V2, remove_if_empty, write
from sampan.linux.cgroup_limits import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.core.spec.runtime import Resources

ROOT = "/sys/fs/cgroup"
BASE = "sampan"
LONGEST = 3000
REMOVE_SECONDS = 5.0
FREEZE_SECONDS = 2.0


class CgroupStats(Record):
    """What is used: bytes, nanoseconds of CPU time, processes and threads. `memory_limit` is 0 where there is none.

    `memory_inactive` is the part of `memory` that is file cache and goes when it is needed; Docker subtracts it.
    """

    memory: int = 0
    memory_peak: int = 0
    memory_inactive: int = 0
    memory_limit: int = 0
    cpu_ns: int = 0
    pids: int = 0
    oom_kills: int = 0


def hierarchy(root: str = ROOT) -> str:
    """The version that has the controllers: `v1` (also where a bare v2 is mounted beside it), `v2`, or nothing."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return "v2"
    return "v1" if any(os.path.exists(f"{root}/{name}/cgroup.procs") for name in LIMITING) else ""


def cgroup_of(cgroups_path: str, container_id: str, *, systemd: bool, root: str = ROOT) -> Cgroup:
    """The cgroup of a container with this `cgroupsPath`.

    An absolute path is below the mount of each hierarchy (which is the caller's own group in a nested mount), a
    relative one below `sampan`, none means `sampan/ID`. With systemd it is `slice:prefix:name`, as the OCI runtimes
    read it, and none means `system.slice:sampan:ID`.

    Raises:
        Invalid: the path leads elsewhere (`..`), names no group, is too long, or is not of the form for systemd.
        Unimplemented: systemd is asked for and does not run.
    """
    if systemd:
        from sampan.linux.systemd import ScopeCgroup, read_unit

        return ScopeCgroup(read_unit(cgroups_path, container_id), root=root)
    if not cgroups_path:
        return Cgroup(container_id, root=root)
    name = "/".join(part for part in cgroups_path.split("/") if part not in ("", "."))
    return Cgroup(name, root=root, base="" if cgroups_path.startswith("/") else BASE, join=True)


class Cgroup:
    """The cgroup of one container, there or not: `sampan/NAME` below the root.

    Args:
        name: one or more path parts.
        root: where the hierarchies are mounted.
        base: the group above, which stays: somebody may be making another group in it just now; "" for none.
        join: use a group that is there, if nothing is in it.

    Attributes:
        path: below each hierarchy.
        missing: after `create` or `update`, what was asked for and cannot be limited here: memory, swap, cpu, …

    Raises:
        Invalid: `name` has empty, `.` or `..` parts, control characters, or a part of more than 255 bytes.
    """

    def __init__(self, name: str, *, root: str = ROOT, base: str = BASE, join: bool = False) -> None:
        for part in name.split("/"):
            if part in ("", ".", "..") or not part.isprintable() or len(part.encode(errors="replace")) > 255:
                raise Invalid(f"{name[:80]!r} is not a name for a cgroup")
        self.path = f"{base}/{name}" if base else name
        if len(self.path) > LONGEST:
            raise Invalid(f"the name of the cgroup {name[:80]!r}… is too long")
        self.version = hierarchy(root)
        self.files: V1 | V2 = (V1 if self.version == "v1" else V2)(root, self.path)
        self.missing: list[str] = []
        self._join = join

    @property
    def folders(self) -> list[str]:
        """The group's folder in each hierarchy."""
        return self.files.folders()

    def create(self, resources: Resources, pid: int = 0) -> None:
        """Make the group and set its limits; what was begun is undone if that fails.

        Args:
            resources: its limits.
            pid: whom a scope of systemd is started for, as the host counts; 0 is this process. `attach` it too.

        Raises:
            Exists: it is there.
            Precondition: it is there, it is not ours alone, and processes or other groups are in it: never `remove`
                it then.
            Denied: we may not (an ordinary user, a read-only mount).
            Unimplemented: no hierarchy is mounted; or a devices rule that takes a part of a wider one.
            Invalid: a limit that means nothing or that the kernel does not take.
        """
        if not self.version:
            raise Unimplemented("no cgroup hierarchy is mounted")
        check(resources)
        if self._join:
            self._require_unused()
        try:
            self._make(resources, pid or os.getpid())
        except FileExistsError as error:
            raise Exists(f"the cgroup {self.path!r} is there already") from error
        except OSError as error:
            raise from_os_error(error, f"make the cgroup {self.path!r}") from error
        try:
            self._limit(resources)
        except BaseException:
            for folder in self.files.folders():
                remove_if_empty(folder)
            raise

    def _make(self, resources: Resources, pid: int) -> None:
        self.files.make(self._join)

    def _require_unused(self) -> None:
        for folder in self.files.folders():
            if any(pids or folders for pids, folders in _walk(folder)):
                raise Precondition(f"the cgroup {self.path!r} is in use", fix="give another cgroupsPath")

    def update(self, resources: Resources) -> None:
        """Set the limits that are asked for; the others stay.

        Raises:
            Precondition: more memory is in use than the limit allows.
            Invalid: a limit that means nothing or that the kernel does not take.
        """
        check(resources)
        self._check_memory_in_use(resources)
        self._limit(resources)

    def _limit(self, resources: Resources) -> None:
        self.missing = []
        try:
            for what, controller, values in self.files.writes(resources):
                if not self._write(controller, values) and what not in self.missing:
                    self.missing.append(what)
            if resources.devices and not self.files.set_devices(resources.devices):
                self.missing.append("devices")
        except OSError as error:
            if error.errno == EBUSY:
                raise Precondition("more memory is in use than the new limit allows") from error
            if error.errno in (EINVAL, ERANGE, ENODEV):
                raise Invalid(f"the kernel does not take the limit ({error.filename})") from error
            raise from_os_error(error, f"limit the cgroup {self.path!r}") from error

    def _check_memory_in_use(self, resources: Resources) -> None:
        """Version 1 refuses such a limit by itself; version 2 would kill."""
        memory = resources.memory
        if memory is None or not memory.check_before_update or self.version == "v1":
            return
        if 0 < (memory.limit or 0) < self.files.stats()["memory"]:
            raise Precondition("more memory is in use than the new limit allows")

    def _write(self, controller: str, values: list[tuple[str, str]]) -> bool:
        """Write values into files; false if there are no such files.

        The kernel wants memory <= memory and swap, and quota <= what the group above has, at any moment: whether
        that needs this order or the other depends on the values before.
        """
        files = [(self.files.file(controller, name), value) for name, value in values]
        try:
            try:
                for file, value in files:
                    if file is None:
                        return False
                    write(file, value)
            except OSError as error:
                if len(files) == 1 or error.errno != EINVAL:
                    raise
                for file, value in reversed(files):
                    write(file or "", value)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != EOPNOTSUPP:
                raise
            return False
        return True

    def attach(self, pid: int = 0) -> None:
        """Move a process into the group; 0 is this one, which must not have a second thread yet.

        Raises:
            NotFound: the process or the group is not there.
            Denied: not allowed to.
        """
        # a thread that moves itself waits for no other: 5 ms less for each hierarchy
        file = "tasks" if pid == 0 and self.version == "v1" else "cgroup.procs"
        try:
            for folder in self.files.folders():
                write(f"{folder}/{file}", str(pid))
        except ProcessLookupError as error:
            raise NotFound(f"there is no process {pid}") from error
        except OSError as error:
            raise from_os_error(error, f"enter the cgroup {self.path!r}") from error

    def stats(self) -> CgroupStats:
        """What the group uses now; what cannot be read is 0."""
        return CgroupStats(**self.files.stats())

    def detailed_stats(self) -> dict[str, Any]:
        """All that the kernel counts for it, in the shape of runc's `events --stats`."""
        from sampan.linux.cgroup_stats import measure

        return measure(self.files)

    def oom_kills(self) -> int:
        """How many of its processes the memory limit has killed."""
        return self.files.oom_kills()

    def pids(self) -> list[int]:
        """The processes in it and in groups below it, that this pid namespace can see."""
        found: set[int] = set()
        for folder in self.files.folders():
            for pids, _ in _walk(folder):
                found.update(pids)
        # 0 stands for those of other pid namespaces, and to kill() for all of ours
        return sorted(found - {0})

    def freeze(self) -> None:
        """Stop all of its processes where they are.

        Raises:
            Unimplemented: the host has no freezer.
            TimedOut: some did not stop in two seconds; they are let go again.
        """
        end = time.monotonic() + FREEZE_SECONDS
        self._set_frozen(True)
        while not self.is_frozen():
            if time.monotonic() > end:
                self.thaw()
                raise TimedOut(f"the processes of {self.path!r} cannot be frozen now")
            time.sleep(0.002)
            self._set_frozen(True)  # version 1 may have missed a process that was just forked

    def thaw(self) -> None:
        """Let them go on."""
        self._set_frozen(False)

    def is_frozen(self) -> bool:
        """Whether all of them stand still, by this group or one above it."""
        return self.files.is_frozen()

    @property
    def frozen_file(self) -> str:
        """The file that tells it: `THAWED` on version 1, a line `frozen 0` on version 2, where they do not."""
        return self.files.frozen_file

    def _set_frozen(self, frozen: bool) -> None:
        file, value = self.files.freeze_write(frozen)
        try:
            write(file, value)
        except FileNotFoundError as error:
            raise Unimplemented(f"the cgroup {self.path!r} has no freezer") from error
        except OSError as error:
            raise from_os_error(error, f"freeze the cgroup {self.path!r}") from error

    def remove(self) -> None:
        """Kill what is left in it and remove it; one that is not there is fine.

        Raises:
            TimedOut: processes are still there after five seconds (stuck in the kernel); call again later.
            Denied: not allowed to.
        """
        left = self._remove_folders(self.files.all_folders())
        end = time.monotonic() + REMOVE_SECONDS
        pause = 0.001
        while left:
            self._kill()
            for folder in left:
                self._remove_folders([inner for inner, _, _ in os.walk(folder, topdown=False)])
            left = [folder for folder in left if os.path.exists(folder)]
            if left and time.monotonic() > end:
                raise TimedOut(f"the cgroup {self.path!r} is still in use by {self.pids()}")
            if left:
                time.sleep(pause)
                pause = min(pause * 2, 0.1)

    def _remove_folders(self, folders: list[str]) -> list[str]:
        """Remove groups; those that are in use are returned."""
        left: list[str] = []
        for folder in folders:
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (EBUSY, ENOTEMPTY):
                    raise from_os_error(error, f"remove the cgroup {self.path!r}") from error
                left.append(folder)
        return left

    def _kill(self) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise from_os_error(error, f"kill process {pid} of {self.path!r}") from error
        try:
            self.thaw()  # a frozen process does not die
        except SampanError:
            return


def _walk(folder: str) -> list[tuple[list[int], list[str]]]:
    """The processes of a group and of all below it, each with the names of the groups below."""
    return [(_read_pids(f"{inner}/cgroup.procs"), folders) for inner, folders, _ in os.walk(folder)]


def _read_pids(file: str) -> list[int]:
    try:
        with open(file) as lines:
            return [int(line) for line in lines]
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno == ENODEV:  # removed while it was open
            return []
        raise from_os_error(error, "list the processes of a cgroup") from error
