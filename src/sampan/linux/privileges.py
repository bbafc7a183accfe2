"""What a process gives up for good: user, capabilities, limits, descriptors. capabilities(7), prctl(2)

The order that works: `set_rlimits`, `set_user`, `drop_capabilities`, `no_new_privileges`, `not_dumpable`,
`close_from`, and after them Landlock and seccomp. All of it before the process has a second thread: the
kernel keeps capabilities for each thread. Nothing here gives a privilege.
"""

from __future__ import annotations

import os
import resource

from sampan.core.errors import Denied, Internal, Invalid, from_os_error
from sampan.core.spec.checks import MAX_ID, MOST_GROUPS, RLIMITS
from sampan.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL
SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
""".split()  # noqa: SIM905 - in the kernel's order, which is their number
_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def drop_capabilities(keep: Iterable[str] = ()) -> None:
    """Lose all capabilities, from all five sets; those in `keep` stay effective and permitted.

    Args:
        keep: names as OCI writes them (`CAP_NET_BIND_SERVICE`).

    Raises:
        Invalid: a name that is not a capability's.
        Denied: one of `keep` is not ours to keep.
    """
    kept = 0
    for name in keep:
        bare = name.removeprefix("CAP_")
        if bare not in CAPABILITIES:
            raise Invalid(f"{name[:40]!r} is not a capability")
        kept |= 1 << CAPABILITIES.index(bare)
    try:
        _set_sets(_permitted())  # a change of user made none effective, and the next line needs one
        _shrink_bounding_set(kept)
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        _set_sets(kept)
    except PermissionError as error:
        raise Denied(
            f"cannot keep the capabilities {', '.join(keep)}: the process does not have them"
        ) from error
    except OSError as error:
        raise from_os_error(error, "drop the capabilities") from error


def own_capabilities() -> list[str]:
    """The capabilities that this process has, and so can hand on, as OCI writes them."""
    held = _permitted()
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if held >> number & 1]


def _permitted() -> int:
    import ctypes

    sets = (ctypes.c_uint32 * 6)()
    syscalls.call("capget", _words(_VERSION_3, 0), ctypes.byref(sets))
    return sets[1] | sets[4] << 32


def _set_sets(mask: int) -> None:
    """Make these the effective and the permitted capabilities, and none inheritable."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    syscalls.call("capset", _words(_VERSION_3, 0), _words(low, low, 0, high, high, 0))


def _shrink_bounding_set(kept: int) -> None:
    number = 0
    while True:
        try:
            held = _prctl(_PR_CAPBSET_READ, number)
        except OSError:  # one more than the kernel knows
            return
        if held and not kept >> number & 1:
            try:
                _prctl(_PR_CAPBSET_DROP, number)
            except PermissionError:  # an ordinary user may not, and needs not: no_new_privs closes that way
                return
        number += 1


def set_user(uid: int, gid: int, groups: list[int] | None = None, *, keep_capabilities: bool = False) -> None:
    """Become this user for good: real, effective and saved ids.

    Args:
        groups: the supplementary groups; None leaves them (a user namespace of one id cannot change them).
        keep_capabilities: root's capabilities stay permitted; `drop_capabilities` must follow.

    Raises:
        Invalid: an id outside 0..2^32-2, more than 65536 groups.
        Denied: not allowed to.
    """
    for number in (uid, gid, *(groups or ())):
        if type(number) is not int or not 0 <= number <= MAX_ID:
            raise Invalid(f"{number!r} is not a user or group id", fix=f"use 0 to {MAX_ID}")
    if groups is not None and len(groups) > MOST_GROUPS:
        raise Invalid(f"{len(groups)} supplementary groups are more than the {MOST_GROUPS} that Linux has")
    try:
        if groups is not None:
            os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        _prctl(_PR_SET_KEEPCAPS, int(keep_capabilities))
        os.setresuid(uid, uid, uid)
    except OSError as error:
        if error.errno == 22:  # an id that the user namespace does not have
            raise Invalid(f"the user {uid}:{gid} does not exist in this user namespace") from error
        raise from_os_error(error, f"become user {uid}:{gid}") from error
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3:
        raise Internal(f"the process did not become user {uid}:{gid}")


def no_new_privileges() -> None:
    """No exec gives privileges any more; Landlock and seccomp ask for this first."""
    _checked_prctl(_PR_SET_NO_NEW_PRIVS, 1, "set no_new_privs")


def not_dumpable() -> None:
    """No core file, no ptrace and no /proc/PID/mem for others of the same user.

    /proc/self belongs to root from here on, so maps of a user namespace are written before.
    """
    _checked_prctl(_PR_SET_DUMPABLE, 0, "become undumpable")


def set_rlimits(limits: dict[str, tuple[int, int]]) -> None:
    """Set resource limits.

    Args:
        limits: soft and hard by name (`RLIMIT_NOFILE`); 2^64-1 and -1 are no limit.

    Raises:
        Invalid: no such limit; soft above hard; out of range.
        Denied: a hard limit above the present one, without CAP_SYS_RESOURCE.
    """
    for name, (soft, hard) in limits.items():
        if name not in RLIMITS:
            raise Invalid(f"{name[:40]!r} is not a resource limit", fix="RLIMIT_NOFILE is one")
        number = RLIMITS.index(name)
        if not all(type(v) is int and -1 <= v < 1 << 64 for v in (soft, hard)):
            raise Invalid(f"{name} is out of range")
        pair = (_unlimited(soft), _unlimited(hard))
        if pair[1] != -1 and (pair[0] == -1 or pair[0] > pair[1]):
            raise Invalid(f"{name}: the soft limit {soft} is above the hard limit {hard}")
        try:
            resource.setrlimit(number, pair)
        except (OSError, ValueError) as error:
            present = resource.getrlimit(number)[1]
            raise Denied(
                f"cannot set {name} to {soft}:{hard}: the hard limit is {_shown(present)} and cannot be raised",
                fix=f"ask for no more, or raise {name} of the process that starts the container",
            ) from error


def _shown(limit: int) -> str:
    return "unlimited" if limit < 0 else str(limit)


def _unlimited(value: int) -> int:
    return -1 if value >= 1 << 63 else value


def close_from(first: int, keep: Iterable[int] = ()) -> None:
    """Close all descriptors from `first` up, except those in `keep`.

    Raises:
        SampanError: the kernel has no close_range (before Linux 5.9).
    """
    low = first
    try:
        for fd in sorted(fd for fd in set(keep) if fd >= first):
            if low < fd:
                syscalls.call("close_range", low, fd - 1, 0)
            low = fd + 1
        syscalls.call("close_range", low, 2**32 - 1, 0)
    except OSError as error:
        raise from_os_error(error, "close the inherited descriptors") from error


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def _prctl(option: int, value: int) -> int:
    return syscalls.call("prctl", option, value)


def _checked_prctl(option: int, value: int, doing: str) -> None:
    try:
        _prctl(option, value)
    except OSError as error:
        raise from_os_error(error, doing) from error
