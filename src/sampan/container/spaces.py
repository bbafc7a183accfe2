"""The namespaces of a spec: some made, some joined by their paths (config-linux.md, "Namespaces").

A process cannot change its own pid namespace, only that of its next child. Without a user namespace the starter
sees to that around its fork; with one, which must come first, the child forks once more and its child goes on.
The cgroup namespace is made last, from inside the container's cgroup.
"""

from __future__ import annotations

import os

from sampan.core.errors import from_os_error
from sampan.linux import mounts, namespaces
from sampan.linux.namespaces import NAMES, NEWCGROUP, NEWNS, NEWPID, NEWTIME, NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.core.spec.runtime import Namespace

FOR_CHILDREN = NEWPID | NEWTIME
FILES = {
    flag: {"mount": "mnt", "network": "net"}.get(name, name) for name, flag in NAMES.items()
}  # below /proc/PID/ns


class Spaces:
    """What namespaces a container has.

    Attributes:
        made: CLONE_NEW flags of those that are made. joined: flag and path of those that are there already.
    """

    def __init__(self, wanted: list[Namespace]) -> None:
        self.made = 0
        self.joined: list[tuple[int, str]] = []
        for namespace in wanted:
            flag = NAMES[namespace.type]
            if namespace.path:
                self.joined.append((flag, namespace.path))
            else:
                self.made |= flag
        self.joined.sort(key=lambda pair: pair[0] != NEWUSER)  # it gives the right to enter the others

    @property
    def all(self) -> int:
        """The flags of all of them."""
        flags = self.made
        for flag, _ in self.joined:
            flags |= flag
        return flags

    @property
    def has_user(self) -> bool:
        return bool(self.all & NEWUSER)

    def fork(self) -> int:
        """Forks as os.fork does; the child is in the pid and time namespaces already, this process in none of them.

        Raises:
            SampanError: they cannot be made or joined.
        """
        flags = self.all & FOR_CHILDREN
        if not flags or self.has_user:
            return os.fork()
        own = {flag: _open(f"/proc/self/ns/{FILES[flag]}") for flag in (NEWPID, NEWTIME) if flags & flag}
        pid = -1
        try:
            self._choose_for_children()
            pid = os.fork()
        finally:
            for flag, fd in own.items():
                if pid != 0:  # what this process forks next is its own business again
                    namespaces.enter(fd, flag)
                os.close(fd)
        return pid

    def _choose_for_children(self) -> None:
        for flag, path in self.joined:
            if flag & FOR_CHILDREN:
                _join(flag, path)
        if self.made & FOR_CHILDREN:
            namespaces.unshare(self.made & FOR_CHILDREN)

    def enter(self, map_ids: Callable[[], None], tell_pid: Callable[[int], None]) -> None:
        """Brings this just forked process into its namespaces, but for the one of cgroups.

        Args:
            map_ids: called in a new user namespace; when it returns, somebody outside has written its maps.
            tell_pid: called with the pid of the process that goes on, when it is not this one.
        """
        for flag, path in self.joined:
            if not flag & FOR_CHILDREN or self.has_user:
                _join(flag, path)
        if self.made & NEWUSER:
            namespaces.unshare(NEWUSER)
            map_ids()
        if self.has_user:
            namespaces.become_root()
            if self.made & FOR_CHILDREN:
                namespaces.unshare(self.made & FOR_CHILDREN)
            if self.all & FOR_CHILDREN:
                pid = os.fork()
                if pid != 0:
                    tell_pid(pid)
                    os._exit(0)
        rest = self.made & ~(NEWUSER | FOR_CHILDREN | NEWCGROUP)
        if rest:
            namespaces.unshare(rest)
        if self.made & NEWNS:
            mounts.make_private()

    def enter_cgroup_namespace(self) -> None:
        """Makes the cgroup namespace, with the present cgroup as its root."""
        if self.made & NEWCGROUP:
            namespaces.unshare(NEWCGROUP)

    def open(self) -> dict[int, int]:
        """Descriptors of all of them as this process has them, by their flag: the way in for others."""
        return {flag: _open(f"/proc/self/ns/{name}") for flag, name in FILES.items() if self.all & flag}


def _join(flag: int, path: str) -> None:
    fd = _open(path)
    try:
        namespaces.enter(fd, flag)
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise from_os_error(error, f"open the namespace {path}") from error
