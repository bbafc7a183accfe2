"""What tests leave on the machine: a count before and after each module, which must be the same.

Workers run side by side, and the machine is not theirs alone. So each thing is counted only where it is seen to be
this worker's: a descendant, what inherited the worker's mark in its environment, or what names the worker's own
temporary folder. Empty cgroups show no owner: they are counted once, around the whole session.
"""

from __future__ import annotations

import gc
import os
import stat
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker

PATIENCE = 15.0  # seconds: processes that were told to end may take a moment
STATE_ROOTS = ("/run/sampan", "/run/sampan-oci", "/var/lib/sampan/containers")
CGROUPS = "/sys/fs/cgroup"
MARK = "SAMPAN_TEST_WORKER"

Things = set[tuple[str, str]]
"""What there is: its kind, and how a person finds it."""


def mark() -> None:
    """Gives all that this process starts from here on its mark; its own /proc/PID/environ stays without."""
    os.environ[MARK] = f"{os.getpid()}."


def take(base: str) -> Things:
    """What there is of the worker whose temporary folder is `base`."""
    gc.collect()  # what nobody holds any more is no leak
    pids = _processes(base)
    things = {("process", f"{pid} {_command(pid)}") for pid in pids}
    things |= {("mount", text) for text in _mounts(base)}
    things |= {("cgroup", path) for path in cgroups() if not pids.isdisjoint(_members(path))}
    things |= {("descriptor", text) for text in _descriptors()}
    things |= {("state", text) for text in _states(base)}
    return things


def left(before: Things, base: str) -> list[str]:
    """What there is more than before, as lines; waits for what is only about to go."""
    end = time.monotonic() + PATIENCE
    while True:
        more = take(base) - before
        if not more or time.monotonic() > end:
            return sorted(f"{kind}: {text}" for kind, text in more)
        time.sleep(0.05)


def cgroups() -> set[str]:
    """The groups of all containers, whoever's."""
    found = set()
    for hierarchy in (CGROUPS, *(entry.path for entry in os.scandir(CGROUPS) if entry.is_dir())):
        for folder, names, _ in os.walk(f"{hierarchy}/sampan"):
            found.update(f"{folder}/{name}" for name in names)
    return found


def _processes(base: str) -> set[int]:
    """Descendants, zombies too, and what else was started from here."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:  # it has ended
            continue
    own = os.getpid()
    return {
        pid for pid in parents if pid != own and (own in _above(pid, parents) or _was_started_here(pid, base))
    }


def _above(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid


def _was_started_here(pid: int, base: str) -> bool:
    signs = {"environ": f"{MARK}={os.getpid()}.", "cmdline": f"{base}/"}
    try:
        for name, sign in signs.items():
            with open(f"/proc/{pid}/{name}", "rb") as file:
                if os.fsencode(sign) in file.read():
                    return True
    except OSError:  # it has ended
        pass
    return False


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            name = file.read().strip()
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return f"{name}: {line.read().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return "(ended)"


def _mounts(base: str) -> Iterator[str]:
    """Mounts, also those that keep a namespace, which name the folder as a place or as a source."""
    with open("/proc/self/mountinfo") as file:
        yield from (line.strip() for line in file if f"{base}/" in line)


def _members(cgroup: str) -> set[int]:
    try:
        with open(f"{cgroup}/cgroup.procs") as file:
            return {int(line) for line in file}
    except OSError:  # it is gone
        return set()


def _descriptors() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
            kind = stat.S_IFMT(os.fstat(int(entry)).st_mode)
        except OSError:  # the one that lists them
            continue
        if int(entry) == resource_tracker._resource_tracker._fd:  # type: ignore[attr-defined]
            continue  # multiprocessing keeps it for good
        if target.startswith("anon_inode:[event"):
            continue  # of the engine's own threads, which stay once there was a guest in this process
        if not (target.endswith("(deleted)") and kind == stat.S_IFREG):
            yield f"{entry} -> {target}"  # the others: what pytest keeps of prints, and of errors


def _states(base: str) -> Iterator[str]:
    """Folders of containers in the usual places, whose documents name the folder."""
    for root in filter(os.path.isdir, STATE_ROOTS):
        for name in os.listdir(root):
            if _names(f"{root}/{name}", os.fsencode(base)):
                yield f"{root}/{name}"


def _names(folder: str, base: bytes) -> bool:
    for name in ("container.json", "config.json"):
        try:
            with open(f"{folder}/{name}", "rb") as file:
                if base in file.read():
                    return True
        except OSError:  # it has no such document
            continue
    return False
