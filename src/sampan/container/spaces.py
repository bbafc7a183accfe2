"""The namespaces of a spec: some made, some joined by their paths (config-linux.md, "Namespaces").

A process cannot change its own pid namespace, only that of its next child. Without a user namespace the starter
sees to that around its fork; with one, which must come first, the child forks once more and its child goes on.
The cgroup namespace is made last, from inside the container's cgroup.
"""

from __future__ import annotations

import os

from sampan.core.errors import Precondition, from_os_error
from sampan.core.spec.runtime import IdMapping, Linux, Namespace, Resources
from sampan.linux import namespaces
from sampan.linux.namespaces import NAMES, NEWCGROUP, NEWNET, NEWPID, NEWTIME, NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Container
    from sampan.container.starter import Starter
    from sampan.core.spec.runtime import Spec

FOR_CHILDREN = NEWPID | NEWTIME
FILES = {
    flag: {"mount": "mnt", "network": "net"}.get(name, name) for name, flag in NAMES.items()
}  # below /proc/PID/ns


class Spaces:
    """What namespaces a container has.

    Attributes:
        made: CLONE_NEW flags of those that are made. joined: flag and path, or descriptor, of those that are there.
        entered: whether this process is in any of them.
    """

    def __init__(self, linux: Linux) -> None:
        self.made = 0
        self.entered = False
        self.joined: list[tuple[int, str | int]] = []
        self._maps = linux.uid_mappings, linux.gid_mappings
        for namespace in linux.namespaces:
            flag = NAMES[namespace.type]
            if namespace.path:
                self.joined.append((flag, namespace.path))
            else:
                self.made |= flag
        self.joined.sort(key=lambda pair: pair[0] != NEWUSER)  # it gives the right to enter the others

    @classmethod
    def joining(cls, fds: dict[int, int]) -> Spaces:
        """Those of another process, by descriptors of them."""
        spaces = cls(Linux())
        spaces.joined = sorted(fds.items(), key=lambda pair: pair[0] != NEWUSER)
        return spaces

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

    def enter(self, starter: Starter | None) -> None:
        """Brings this just forked process into its namespaces, but for the one of cgroups.

        Args:
            starter: is asked for the `maps` of a user namespace, and told the pid of the process that goes on when
                it is not this one.

        Raises:
            SampanError: one cannot be made or joined.
        """
        for flag, path in self.joined:
            if not flag & FOR_CHILDREN or self.has_user:
                _join(flag, path)
                self.entered = True
            if flag == NEWUSER and namespaces.has_root():
                namespaces.become_root()
        if self.made & NEWUSER:
            self._make_user_namespace(starter)
        if self.has_user:
            self._go_on_in_child(starter)
        rest = self.made & ~(NEWUSER | FOR_CHILDREN | NEWCGROUP)
        if rest:
            namespaces.unshare(rest)
        if rest & NEWNET:  # as runc does it: servers and clients of one container meet there
            namespaces.raise_loopback()

    def _make_user_namespace(self, starter: Starter | None) -> None:
        uid, gid = os.geteuid(), os.getegid()
        own = [[IdMapping(uid, uid, 1)], [IdMapping(gid, gid, 1)]]
        namespaces.unshare(NEWUSER)
        self.entered = True
        if list(self._maps) == own:
            namespaces.map_user(uid, gid)
        elif starter is None:
            raise Precondition("the ids of a user namespace can only be mapped while a container is started")
        else:
            starter.ask("maps")
        if namespaces.has_root():
            namespaces.become_root()

    def _go_on_in_child(self, starter: Starter | None) -> None:
        if self.made & FOR_CHILDREN:
            namespaces.unshare(self.made & FOR_CHILDREN)
        if not self.all & FOR_CHILDREN:
            return
        pid = os.fork()
        if pid != 0:
            if starter is not None:
                starter.tell_pid(pid)
            os._exit(0)

    def enter_cgroup_namespace(self) -> None:
        """Makes the cgroup namespace, with the present cgroup as its root."""
        if self.made & NEWCGROUP:
            namespaces.unshare(NEWCGROUP)

    def open(self) -> dict[int, int]:
        """Descriptors of all of them as this process has them, by their flag: the way in for others."""
        return {flag: _open(f"/proc/self/ns/{name}") for flag, name in FILES.items() if self.all & flag}


def _join(flag: int, where: str | int) -> None:
    if isinstance(where, int):
        namespaces.enter(where, flag)
        return
    fd = _open(where)
    try:
        namespaces.enter(fd, flag)
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise from_os_error(error, f"open the namespace {path}") from error


def spaces_of(container: Container, spec: Spec) -> Spaces:
    """The namespaces of a container's process; that of a Linux container only mounts, its runtime makes the others."""
    if not container.linux_runtime:
        return Spaces(spec.linux or Linux())
    if os.geteuid() == 0:
        return Spaces(Linux(namespaces=[Namespace("mount")]))
    return Spaces(own_namespaces(Resources()))


def own_namespaces(resources: Resources) -> Linux:
    """The Linux part of a spec that no other runtime wrote.

    For a plain user a namespace of users comes first, with this user alone in it, and there is none of pids: that would
    take another process for each container.
    """
    kinds = ["mount", "ipc", "uts"]
    if os.geteuid() == 0:
        return Linux(resources, namespaces=[Namespace(kind) for kind in (*kinds, "pid", "cgroup")])
    return Linux(
        resources,
        namespaces=[Namespace(kind) for kind in ("user", *kinds)],
        uid_mappings=[IdMapping(os.geteuid(), os.geteuid(), 1)],
        gid_mappings=[IdMapping(os.getegid(), os.getegid(), 1)],
    )
