"""What tests leave on the machine: a count before and after each module, which must be the same.

Workers run side by side, and the machine is not theirs alone. So each thing is counted only where it is seen to be
this worker's: a descendant, or something that names the worker's own temporary folder.
"""

from __future__ import annotations

import gc
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker

PATIENCE = 15.0  # seconds: processes that were told to end may take a moment
STATE_ROOTS = ("/run/sampan", "/run/sampan-oci", "/var/lib/sampan/containers")
CGROUPS = "/sys/fs/cgroup"
KEPT_CGROUPS = ("sampan", "sampan.slice")
"""The group that all of ours are in, which stays."""

Things = set[tuple[str, str]]
"""What there is: its kind, and how a person finds it."""


def take(base: str) -> Things:
    """What there is of the worker whose temporary folder is `base`."""
    gc.collect()  # what nobody holds any more is no leak
    things = {("process", text) for text in _processes(base)}
    things |= {("mount", text) for text in _mounts(base)}
    things |= {("cgroup", text) for text in _cgroups(base)}
    things |= {("descriptor", text) for text in _descriptors()}
    things |= {("state", text) for text in _states(base)}
    things |= {("temporary file", text) for text in _temporary_files()}
    return things


def left(before: Things, base: str) -> list[str]:
    """What there is more than before, as lines; waits for what is only about to go."""
    end = time.monotonic() + PATIENCE
    while True:
        more = take(base) - before
        if not more or time.monotonic() > end:
            return sorted(f"{kind}: {text}" for kind, text in more)
        time.sleep(0.05)


def _processes(base: str) -> Iterator[str]:
    """Descendants, and whatever else works below `base`; zombies, too."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:  # it has ended
            continue
    own = os.getpid()
    for pid in parents.keys() - {own}:
        above = pid
        while above not in (0, own):
            above = parents.get(above, 0)
        if above == own or _works_below(pid, base):
            yield f"{pid} {_command(pid)}"


def _works_below(pid: int, base: str) -> bool:
    raw = os.fsencode(base)
    try:
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                if raw in file.read():
                    return pid != os.getppid()
        links = [f"/proc/{pid}/cwd", *(entry.path for entry in os.scandir(f"/proc/{pid}/fd"))]
        return any(os.readlink(link).startswith(base) for link in links)
    except OSError:  # it has ended, or closed that
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
        yield from (line.strip() for line in file if base in line)


def _cgroups(base: str) -> Iterator[str]:
    for folder, names, _ in os.walk(CGROUPS):
        for name in names:
            path = f"{folder}/{name}"
            if "sampan" in path and name not in KEPT_CGROUPS and not _is_anothers(path, base):
                yield path


def _is_anothers(cgroup: str, base: str) -> bool:
    """Whether a group is that of another run's container: one that lives, or that still has its folder."""
    try:
        with open(f"{cgroup}/cgroup.procs") as file:
            members = [int(line) for line in file]
    except OSError:  # it is gone
        return True
    if members:
        return not any(_works_below(pid, base) for pid in members)
    name = os.path.basename(cgroup)
    top = base[
        : base.find("/", base.find("pytest-of-"))
    ]  # where this user's other runs have their folders, too
    return any(name in names for folder, names, _ in os.walk(top) if not f"{folder}/".startswith(f"{base}/"))


def _descriptors() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
            kind = stat.S_IFMT(os.fstat(int(entry)).st_mode)
        except OSError:  # the one that lists them
            continue
        if int(entry) == resource_tracker._resource_tracker._fd:  # type: ignore[attr-defined]
            continue  # multiprocessing keeps it for good
        if not (target.startswith("/tmp/") and target.endswith("(deleted)") and kind == stat.S_IFREG):
            yield f"{entry} -> {target}"  # the others are where pytest keeps what a test prints


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


def _temporary_files() -> Iterator[str]:
    folder = tempfile.gettempdir()
    yield from (f"{folder}/{name}" for name in os.listdir(folder) if name.startswith("sampan"))
