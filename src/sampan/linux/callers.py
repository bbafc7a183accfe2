"""Standing in for another process: with its descriptors, folder and environment, where all else is the same.

proc(5), pidfd_getfd(2). It refuses where a fork of this process would be another one than that process: in identity,
privileges, security label, namespaces, root folder or priorities. The cgroup is not compared: the fork's is this one's.
"""

from __future__ import annotations

import os
import resource

from sampan.core.errors import Precondition
from sampan.linux import syscalls
from sampan.linux.files import read_file
from sampan.linux.processes import open_pidfd

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
SAME = (
    "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed",
    "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
)  # fmt: skip
LIMITS = [number for name, number in vars(resource).items() if name.startswith("RLIMIT_")]
PRIORITY, NICE = 15, 16  # of /proc/PID/stat's fields behind the name


def check_is_alike(pid: int) -> None:
    """Makes sure that a fork of this process can stand in for process `pid`.

    Raises:
        Precondition: it is gone, or differs; the text says in what.
    """
    try:
        differs = next((name for name, found in _features(pid).items() if found != _own()[name]), "")
    except OSError as error:
        raise Precondition(f"process {pid} cannot be looked at: {error.strerror}") from error
    if differs:
        raise Precondition(f"process {pid} has another {differs} than this one")


def stand_in(pid: int, standard: tuple[int, int, int]) -> list[str]:
    """Gives this process the folder, umask, limits, environment and three descriptors of process `pid`; its words.

    Args:
        standard: which of its descriptors become standard input, output and error here.

    Raises:
        NotFound: it is gone. Precondition: it may not be looked into, or has limits that this one may not have.
    """
    try:
        pidfd = open_pidfd(pid)
        for fd, theirs in enumerate(standard):
            taken = syscalls.call("pidfd_getfd", pidfd, theirs, 0)
            os.dup2(taken, fd)
            os.close(taken)
        os.close(pidfd)
        os.chdir(f"/proc/{pid}/cwd")
        os.umask(int(_status(pid)["Umask"], 8))
        _take_limits(pid)
        environment = _strings(pid, "environ")
        words = _strings(pid, "cmdline")
    except (OSError, ValueError) as error:
        raise Precondition(f"cannot stand in for process {pid}: {error}") from error
    os.environ.clear()
    os.environ.update((name, value) for name, sign, value in map(_parted, environment) if sign)
    return words


def _take_limits(pid: int) -> None:
    """Gives this process the limits of process `pid`.

    Raises:
        OSError, ValueError: it may not have them.
    """
    for limit in LIMITS:
        resource.setrlimit(limit, resource.prlimit(pid, limit))


_features_of_this: dict[str, str] = {}


def _own() -> dict[str, str]:
    if not _features_of_this:
        _features_of_this.update(_features(os.getpid()))
    return _features_of_this


def _features(pid: int) -> dict[str, str]:
    status = _status(pid)
    features = {name: status.get(name, "") for name in SAME}
    for name in NAMESPACES:
        features[f"{name} namespace"] = os.readlink(f"/proc/{pid}/ns/{name}")
    features["root folder"] = os.readlink(f"/proc/{pid}/root")
    features["security label"] = _label(pid)
    if os.geteuid() != 0:  # a plain user's containers stay in the cgroup that they are started in
        features["cgroup"] = _read(pid, "cgroup")
    features["oom_score_adj"] = _read(pid, "oom_score_adj")
    stat = _read(pid, "stat").rpartition(")")[2].split()
    features["priority"] = " ".join(stat[PRIORITY : NICE + 1])
    return features


def _label(pid: int) -> str:
    """AppArmor's or SELinux's; empty where the kernel has neither."""
    try:
        return _read(pid, "attr/current")
    except OSError:
        return ""


def _status(pid: int) -> dict[str, str]:
    lines = (line.partition(":") for line in _read(pid, "status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def _parted(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def _strings(pid: int, name: str) -> list[str]:
    return _read(pid, name).split("\0")[:-1]


def _read(pid: int, name: str) -> str:
    return os.fsdecode(read_file(f"/proc/{pid}/{name}"))
