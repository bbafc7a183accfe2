"""Control groups: what a container may use, what it used, and whether its limit killed it. cgroups(7).

One `Cgroup` for version 1, version 2 and the mixed form; what differs is in `cgroup_files`. A memory limit means
memory and swap together, so a container cannot use more by swapping. A controller that the host does not have, or
that we may not use, is listed in `missing`, and judged by the caller. Nothing is delegated, and no systemd asked.
"""

from __future__ import annotations

import os
import time
from errno import EBUSY, EINVAL, ENODEV, ENOTEMPTY

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
from sampan.linux.cgroup_files import CONTROLLERS, V1, V2

ROOT = "/sys/fs/cgroup"
BASE = "sampan"
REMOVE_SECONDS = 5.0
FREEZE_SECONDS = 2.0


class CgroupLimits(Record):
    """Limits; None and 0 are not asked for, -1 is explicitly none.

    `memory`: bytes. `swap`: bytes of memory and swap together; None: as `memory`. `cpu_quota`: microseconds of CPU
    time in each `cpu_period` microseconds. `cpu_shares`: 2 to 262144, 1024 is usual. `pids`: processes and threads.
    """

    memory: int | None = None
    swap: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_shares: int | None = None
    pids: int | None = None


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
    return "v1" if any(os.path.exists(f"{root}/{name}/cgroup.procs") for name in CONTROLLERS) else ""


class Cgroup:
    """The cgroup of one container, there or not: `sampan/NAME` below the root.

    Args:
        name: one or more path parts.
        root: where the hierarchies are mounted.
        base: the group above; "" for none.

    Attributes:
        missing: after `create`, what of memory, swap, cpu, pids and freezer cannot be had here.

    Raises:
        Invalid: `name` has empty, `.` or `..` parts, control characters, or a part of more than 255 bytes.
    """

    def __init__(self, name: str, *, root: str = ROOT, base: str = BASE) -> None:
        for part in name.split("/"):
            if part in ("", ".", "..") or not part.isprintable() or len(part.encode(errors="replace")) > 255:
                raise Invalid(f"{name[:80]!r} is not a name for a cgroup")
        self.version = hierarchy(root)
        self._base = base
        self._files: V1 | V2 = (V1 if self.version == "v1" else V2)(root, f"{base}/{name}" if base else name)
        self.missing: list[str] = []

    def create(self, limits: CgroupLimits) -> None:
        """Make the group and set its limits; what was begun is undone if that fails.

        Raises:
            Exists: it is there.
            Denied: we may not (an ordinary user, a read-only mount).
            Unimplemented: no hierarchy is mounted.
            Invalid: a limit that the kernel does not take.
        """
        if not self.version:
            raise Unimplemented("no cgroup hierarchy is mounted")
        _check(limits)
        try:
            made = self._files.make()
        except FileExistsError as error:
            raise Exists(f"the cgroup {self._files.path!r} is there already") from error
        except OSError as error:
            raise from_os_error(error, f"make the cgroup {self._files.path!r}") from error
        self.missing = [name for name in CONTROLLERS if name not in made]
        try:
            self.update(limits)
        except BaseException:
            self.remove()
            raise

    def update(self, limits: CgroupLimits) -> None:
        """Set the limits that are asked for; the others stay.

        Raises:
            Precondition: more memory is in use than the limit allows.
            Invalid: a limit that the kernel does not take.
        """
        _check(limits)
        try:
            for controller, writes in self._files.writes(limits):
                if not _write_in_any_order(writes) and controller not in self.missing:
                    self.missing.append(controller)
        except OSError as error:
            if error.errno == EBUSY:
                raise Precondition("more memory is in use than the new limit allows") from error
            if error.errno == EINVAL:
                raise Invalid(f"the kernel does not take the limit ({error.filename})") from error
            raise from_os_error(error, f"limit the cgroup {self._files.path!r}") from error

    def attach(self, pid: int = 0) -> None:
        """Move a process into the group; 0 is this one, which must not have a second thread yet.

        Raises:
            NotFound: the process or the group is not there.
            Denied: not allowed to.
        """
        try:
            for folder in self._files.folders():
                alone = pid == 0 and self.version == "v1"
                # a thread that moves itself waits for no other: 5 ms less for each hierarchy
                _write(f"{folder}/{'tasks' if alone else 'cgroup.procs'}", str(pid))
        except ProcessLookupError as error:
            raise NotFound(f"there is no process {pid}") from error
        except OSError as error:
            raise from_os_error(error, f"enter the cgroup {self._files.path!r}") from error

    def stats(self) -> CgroupStats:
        """What the group uses now; what cannot be read is 0."""
        return CgroupStats(**self._files.stats())

    def oom_kills(self) -> int:
        """How many of its processes the memory limit has killed."""
        return self._files.stats()["oom_kills"]

    def pids(self) -> list[int]:
        """The processes in it and in groups below it, that this pid namespace can see."""
        found: set[int] = set()
        for folder in self._files.folders():
            for inner, _, _ in os.walk(folder):
                found.update(_read_pids(f"{inner}/cgroup.procs"))
        return sorted(
            found - {0}
        )  # 0 stands for those of other pid namespaces, and to kill() for all of ours

    def freeze(self) -> None:
        """Stop all of its processes where they are.

        Raises:
            Unimplemented: the host has no freezer.
            TimedOut: some did not stop in two seconds; they are let go again.
        """
        self._set_frozen(True)
        end = time.monotonic() + FREEZE_SECONDS
        while not self._files.is_frozen():
            if time.monotonic() > end:
                self.thaw()
                raise TimedOut(f"the processes of {self._files.path!r} cannot be frozen now")
            time.sleep(0.002)

    def thaw(self) -> None:
        """Let them go on."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        file, value = self._files.freeze_write(frozen)
        try:
            _write(file, value)
        except FileNotFoundError as error:
            raise Unimplemented(f"the cgroup {self._files.path!r} has no freezer") from error
        except OSError as error:
            raise from_os_error(error, f"freeze the cgroup {self._files.path!r}") from error

    def remove(self) -> None:
        """Kill what is left in it and remove it; one that is not there is fine.

        Raises:
            TimedOut: processes are still there after five seconds (stuck in the kernel); call again later.
            Denied: not allowed to.
        """
        end = time.monotonic() + REMOVE_SECONDS
        pause = 0.001
        while not self._try_remove():
            if time.monotonic() > end:
                raise TimedOut(f"the cgroup {self._files.path!r} is still in use by {self.pids()}")
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def _try_remove(self) -> bool:
        if pids := self.pids():
            self._kill(pids)
        gone = True
        for folder in self._files.folders():
            try:
                for inner, _, _ in os.walk(folder, topdown=False):
                    os.rmdir(inner)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (EBUSY, ENOTEMPTY):
                    raise from_os_error(error, f"remove the cgroup {self._files.path!r}") from error
                gone = False
        if gone and self._base:
            self._files.remove_empty(self._base)
        return gone

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise from_os_error(error, f"kill process {pid} of {self._files.path!r}") from error
        try:
            self.thaw()  # a frozen process does not die
        except SampanError:
            return


def _check(limits: CgroupLimits) -> None:
    for name in CgroupLimits._names:
        value = getattr(limits, name)
        if value is not None and not -1 <= value < 1 << 63:
            raise Invalid(f"the limit {name} of {value} is out of range")


def _write_in_any_order(writes: list[tuple[str, str]]) -> bool:
    """Write values into files; false if a file is not there.

    The kernel wants memory <= memory and swap at any moment: whether that needs this order or the other depends on
    the values before.
    """
    try:
        try:
            for file, value in writes:
                _write(file, value)
        except OSError as error:
            if len(writes) == 1 or error.errno not in (EINVAL, EBUSY):
                raise
            for file, value in reversed(writes):
                _write(file, value)
    except FileNotFoundError:
        return False
    return True


def _write(file: str, value: str) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        error.filename = file
        raise
    finally:
        os.close(fd)


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
