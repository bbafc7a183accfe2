"""Namespaces: leave the present ones, enter others, name a host, and a user namespace with one id. namespaces(7).

Maps of whole id ranges are the business of `idmaps`. A process that unshares users must have one thread.
"""

from __future__ import annotations

import os
from errno import EINVAL, ENOSPC, ENOSYS, EUSERS

from sampan.core.errors import (
    Exhausted,
    Invalid,
    NotFound,
    Precondition,
    SampanError,
    Unimplemented,
    from_os_error,
)
from sampan.linux import syscalls
from sampan.linux.files import read_file

NEWTIME = 0x00000080
NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000
NAMES = {
    "mount": NEWNS, "cgroup": NEWCGROUP, "uts": NEWUTS, "ipc": NEWIPC,
    "user": NEWUSER, "pid": NEWPID, "network": NEWNET, "time": NEWTIME,
}  # fmt: skip
"""OCI's names of the namespaces."""
MAX_NAME = 64  # of a host and a domain
SIOCSIFFLAGS, UP = 0x8914, 1


def unshare(flags: int) -> None:
    """Move this process into new namespaces (for NEWPID: its next child).

    Raises:
        Denied: needs privileges, or NEWUSER beside the other flags.
        Exhausted: the user has as many namespaces as it may.
        Unimplemented: the kernel does not have one of them.
    """
    try:
        syscalls.call("unshare", flags)
    except OSError as error:
        raise _refusal(error, f"make the namespaces {_shown(flags)}") from error


def enter(fd: int, flag: int) -> None:
    """Join the namespace that `fd` (an open /proc/PID/ns file, or a pidfd) refers to.

    Raises:
        Precondition: it is another kind of namespace than `flag` says, or the process has threads.
        Denied: not allowed to.
    """
    try:
        syscalls.call("setns", fd, flag)
    except OSError as error:
        raise _refusal(error, f"enter the namespace {_shown(flag)}") from error


def map_user(uid: int, gid: int) -> None:
    """Map one user and one group onto themselves in the user namespace that was just made.

    Args:
        uid: what `geteuid` said before `unshare(NEWUSER)`; inside, it is the same.
    """
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "wb", buffering=0) as file:
                file.write(text.encode())
    except OSError as error:
        raise from_os_error(error, f"map the user {uid}:{gid} into its namespace") from error


def has_root() -> bool:
    """Whether the user namespace that this process is in maps the id 0."""
    with open("/proc/self/uid_map", "rb") as file:
        return any(line.split()[0] == b"0" for line in file)


def may_set_groups(pid: int | str = "self") -> bool:
    """Whether the user namespace that a process is in lets its root change supplementary groups."""
    try:
        return read_file(f"/proc/{pid}/setgroups").strip() == b"allow"
    except FileNotFoundError as error:
        raise NotFound(f"there is no process {pid}") from error


def become_root() -> None:
    """Become the root of the user namespace that was just entered, with its capabilities in it.

    Raises:
        Precondition: the namespace has no root.
    """
    try:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    except OSError as error:
        raise Precondition(
            "the user namespace maps no id 0", fix="map container id 0 to a host id"
        ) from error


def set_hostname(name: str) -> None:
    """Give the UTS namespace that this process is in, which should be its own, a host name.

    Raises:
        Invalid: longer than 64 bytes, or a NUL in it. Denied: not allowed to.
    """
    _set_name("sethostname", "hostname", name)


def set_domainname(name: str) -> None:
    """Give the UTS namespace that this process is in an NIS domain name.

    Raises:
        Invalid: longer than 64 bytes, or a NUL in it. Denied: not allowed to.
    """
    _set_name("setdomainname", "domainname", name)


def _set_name(call: str, field: str, name: str) -> None:
    raw = os.fsencode(name)
    if len(raw) > MAX_NAME or b"\0" in raw:
        raise Invalid(f"the {field} {name[:80]!r} is longer than {MAX_NAME} bytes, or has a NUL in it")
    try:
        syscalls.call(call, raw, len(raw))
    except OSError as error:
        raise from_os_error(error, f"set the {field} {name!r}") from error


def raise_loopback() -> None:
    """Make 127.0.0.1 work in the network namespace that was just made.

    Raises:
        Denied: not allowed to.
    """
    import _socket
    import fcntl

    request = b"lo".ljust(16, b"\0") + UP.to_bytes(2, "little") + bytes(22)  # struct ifreq
    try:
        socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            fcntl.ioctl(socket.fileno(), SIOCSIFFLAGS, request)
        finally:
            socket.close()
    except OSError as error:
        raise from_os_error(error, "raise the loopback interface") from error


def can_unshare_user() -> bool:
    """Whether this process may make and map a user namespace: tried by a forked child."""
    syscalls.load()
    uid, gid = os.geteuid(), os.getegid()
    pid = os.fork()
    if pid == 0:
        try:
            unshare(NEWUSER | NEWNS)
            map_user(uid, gid)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _shown(flags: int) -> str:
    return ", ".join(name for name, flag in NAMES.items() if flags & flag) or hex(flags)


def _refusal(error: OSError, doing: str) -> SampanError:
    if error.errno in (ENOSPC, EUSERS):
        return Exhausted(f"cannot {doing}: the limit is reached", fix="raise /proc/sys/user/max_*_namespaces")
    if error.errno == ENOSYS:
        return Unimplemented(f"cannot {doing}: the kernel does not have them")
    if error.errno == EINVAL:
        return Precondition(
            f"cannot {doing}: not of that kind, not in this kernel, or the process has threads"
        )
    return from_os_error(error, doing)
