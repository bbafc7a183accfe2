"""Landlock: the kernel refuses every path that is not listed, whatever runs in the process. landlock(7).

What is handled grows with the kernel's ABI (1 to 7 are known here); what an older kernel cannot refuse is
returned by name, for the caller to judge. Descriptors that are open already keep working. Nothing can be
executed afterwards, no device or socket be made, and no process outside be signalled. Applies to this thread
and those that it starts.
"""

from __future__ import annotations

import os
from errno import ENOSYS, EOPNOTSUPP, EPERM
from stat import S_ISDIR

from sampan.core.errors import Precondition, Unimplemented, from_os_error
from sampan.linux import syscalls

KNOWN_ABI = 7
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
_CHANGE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
_ON_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
_BIND_TCP_CONNECT_TCP = 3
_SCOPE_ABSTRACT_UNIX_SIGNAL = 3
_VERSION = 1
_PATH_BENEATH = 1


def abi() -> int:
    """The kernel's Landlock version; 0 where it has none or it is switched off."""
    try:
        return syscalls.call("landlock_create_ruleset", None, 0, _VERSION)
    except OSError:
        return 0


def restrict(read_only: list[str | int], read_write: list[str | int], deny_tcp: bool) -> list[str]:
    """Leave this thread only these paths, and all below them; call `no_new_privileges` before.

    Args:
        read_only: folders or files (paths, or `O_PATH` descriptors) that may be read.
        read_write: that may be changed, too.
        deny_tcp: no TCP bind and no connect.

    Returns:
        What this kernel is too old to refuse, of `truncate`, `tcp`, `ioctl`, `scope`.

    Raises:
        Unimplemented: the kernel has no Landlock.
        Precondition: no_new_privs is not set.
        NotFound: a path is not there.
    """
    version = min(abi(), KNOWN_ABI)
    if version == 0:
        raise Unimplemented("the kernel has no Landlock", fix="Linux 5.13 or newer has, with lsm=landlock")
    handled = _handled_paths(version)
    tcp = _BIND_TCP_CONNECT_TCP if deny_tcp and version >= 4 else 0
    scoped = _SCOPE_ABSTRACT_UNIX_SIGNAL if version >= 6 else 0
    attributes = b"".join(value.to_bytes(8, "little") for value in (handled, tcp, scoped))
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = -1
    try:
        ruleset = syscalls.call("landlock_create_ruleset", attributes, size, 0)
        for where in read_only:
            _allow(ruleset, where, _READ & handled)
        for where in read_write:
            _allow(ruleset, where, (_READ | _CHANGE) & handled)
        syscalls.call("landlock_restrict_self", ruleset, 0)
    except OSError as error:
        if error.errno == EPERM:
            raise Precondition("Landlock needs no_new_privs to be set first") from error
        if error.errno in (ENOSYS, EOPNOTSUPP):
            raise Unimplemented("the kernel has no Landlock") from error
        raise from_os_error(error, "restrict the process to its paths") from error
    finally:
        if ruleset >= 0:
            os.close(ruleset)
    needed = {"truncate": 3, "tcp": 4 if deny_tcp else 0, "ioctl": 5, "scope": 6}
    return [name for name, since in needed.items() if version < since]


def _handled_paths(version: int) -> int:
    """All rights on paths that this version knows: what is handled and not allowed is refused."""
    newest = {1: 12, 2: 13, 3: 14, 4: 14}.get(version, 15)
    return (1 << newest + 1) - 1


def _allow(ruleset: int, where: str | int, rights: int) -> None:
    fd = os.open(where, os.O_PATH | os.O_CLOEXEC) if isinstance(where, str) else where
    try:
        if not S_ISDIR(os.fstat(fd).st_mode):
            rights &= _ON_FILES
        rule = rights.to_bytes(8, "little") + fd.to_bytes(4, "little")  # packed, 12 bytes
        syscalls.call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        if isinstance(where, str):
            os.close(fd)
