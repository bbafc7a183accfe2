"""The numbers and shapes of WASI preview 1 and of WasmEdge's sockets: signatures, structures, constants, errnos.

Reference: WASI's `wasi_snapshot_preview1.witx`; WasmEdge's `thirdparty/wasi/api.hpp` and `wasimodule.cpp`.
Knows no socket and no memory. A signature is one letter a parameter, `i` an i32; all results are one i32.
"""

from __future__ import annotations

import errno as host_errno
from _socket import (
    AF_INET,
    AF_INET6,
    EAI_ADDRFAMILY,
    EAI_AGAIN,
    EAI_BADFLAGS,
    EAI_FAIL,
    EAI_FAMILY,
    EAI_MEMORY,
    EAI_NODATA,
    EAI_NONAME,
    EAI_SERVICE,
    EAI_SOCKTYPE,
    EAI_SYSTEM,
    SO_ACCEPTCONN,
    SO_BINDTODEVICE,
    SO_BROADCAST,
    SO_DONTROUTE,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_OOBINLINE,
    SO_RCVBUF,
    SO_RCVLOWAT,
    SO_RCVTIMEO,
    SO_REUSEADDR,
    SO_SNDBUF,
    SO_SNDTIMEO,
    SO_TYPE,
    SOCK_DGRAM,
    SOCK_STREAM,
    gaierror,
)
from struct import Struct

WASI = "wasi_snapshot_preview1"
FIRST_DESCRIPTOR = 1000
"""Ours begin here; WASI gives the lowest free number, and has far fewer."""

MOST_VECTORS = 1024
"""The most I/O vectors in one call, as Linux and WasmEdge have it."""

MOST_SUBSCRIPTIONS = 65_536

# WasmEdge's functions, and of those that changed both generations: a module's import type tells which it means.
SOCKET_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "sock_open": ("iii",),
    "sock_bind": ("iii",),
    "sock_listen": ("ii",),
    "sock_accept": ("ii", "iii"),  # the second is WASI's own
    "sock_connect": ("iii",),
    "sock_recv": ("iiiiii",),
    "sock_recv_from": ("iiiiiii", "iiiiiiii"),
    "sock_send": ("iiiii",),
    "sock_send_to": ("iiiiiii",),
    "sock_shutdown": ("ii",),
    "sock_getsockopt": ("iiiii",),
    "sock_setsockopt": ("iiiii",),
    "sock_getlocaladdr": ("iiii", "iii"),
    "sock_getpeeraddr": ("iiii", "iii"),
    "sock_getaddrinfo": ("iiiiiiii",),
}
NEWER = {name: forms[-1] for name, forms in SOCKET_FUNCTIONS.items()}
"""What `NAME_v2` means, which WasmEdge offers as well."""

# WASI's functions that must know our descriptors too.
SHARED_FUNCTIONS = {
    "fd_read": "iiii",
    "fd_write": "iiii",
    "fd_close": "i",
    "fd_renumber": "ii",
    "fd_fdstat_get": "ii",
    "fd_fdstat_set_flags": "ii",
    "poll_oneoff": "iiii",
}

_PLAIN_WASI = {"sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii"}


def socket_function(name: str, params: str) -> str:
    """The function that an import means (without `_v2`); "" when it is none of WasmEdge's, or has another type."""
    base = name.removesuffix("_v2")
    forms = (NEWER.get(base),) if base != name else SOCKET_FUNCTIONS.get(name, ())
    return base if params in forms else ""


def uses_sockets(imports: dict[str, str]) -> bool:
    """Whether a module needs these functions: it can come by a socket that WASI alone would not give it.

    Args:
        imports: the functions imported from `wasi_snapshot_preview1`, with their parameters as letters.
    """
    return any(socket_function(n, p) and _PLAIN_WASI.get(n) != p for n, p in imports.items())


U16, U32 = Struct("<H"), Struct("<I")
VECTOR = Struct("<II")  # address and size: iovec, ciovec, and WasmEdge's address
SUBSCRIPTION = Struct("<QB7xI4xQQH6x")  # user data, tag, descriptor or clock, timeout, precision, flags
EVENT = Struct("<QHB5xQH6x")  # user data, error, tag, bytes, flags
FDSTAT = Struct("<BxH4xQQ")  # file type, flags, rights, inherited rights
ADDRESS_INFO = Struct("<HBBB3xIIIII")  # flags, family, type, protocol, sizes and pointers (see `names`)
SOCKET_ADDRESS = Struct("<B3xII")  # family, size and place of the port and the address
ADDRESS_STORAGE_SIZE = 128  # a family (u16), then the address

EVENT_CLOCK, EVENT_READ, EVENT_WRITE = range(3)
EVENT_HANGUP = 1
CLOCK_ABSOLUTE = 1
FLAG_NONBLOCK = 4
RIGHTS_OF_A_SOCKET = (
    1 << 1 | 1 << 3 | 1 << 6 | 1 << 27 | 1 << 28 | 1 << 29
)  # read, flags, write, poll, shut, accept
FILE_TYPE = {SOCK_DGRAM: 5, SOCK_STREAM: 6}
RECV_PEEK, RECV_WAITALL, RECV_TRUNCATED = 1, 2, 1

FAMILY_UNIX = 3
FAMILIES = {1: AF_INET, 2: AF_INET6}
FAMILY_NUMBER = {host: guest for guest, host in FAMILIES.items()}
ADDRESS_SIZE = {AF_INET: 4, AF_INET6: 16}
OLD_FAMILY_NUMBER = {AF_INET: 4, AF_INET6: 6}  # what the older sock_getlocaladdr gives
TYPES = {1: SOCK_DGRAM, 2: SOCK_STREAM}
TYPE_NUMBER = {host: guest for guest, host in TYPES.items()}
OPTIONS = dict(
    enumerate(
        (
            SO_REUSEADDR,
            SO_TYPE,
            SO_ERROR,
            SO_DONTROUTE,
            SO_BROADCAST,
            SO_SNDBUF,
            SO_RCVBUF,
            SO_KEEPALIVE,
            SO_OOBINLINE,
            SO_LINGER,
            SO_RCVLOWAT,
            SO_RCVTIMEO,
            SO_SNDTIMEO,
            SO_ACCEPTCONN,
            SO_BINDTODEVICE,
        )
    )
)

# WASI numbers its errors by their names' alphabetical order, but for the last; 0 is success.
_ERROR_NAMES = """
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBADMSG EBUSY ECANCELED ECHILD
    ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EDESTADDRREQ EDOM EDQUOT EEXIST EFAULT EFBIG EHOSTUNREACH EIDRM
    EILSEQ EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE EMLINK EMSGSIZE EMULTIHOP ENAMETOOLONG
    ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS ENODEV ENOENT ENOEXEC ENOLCK ENOLINK ENOMEM ENOMSG
    ENOPROTOOPT ENOSPC ENOSYS ENOTCONN ENOTDIR ENOTEMPTY ENOTRECOVERABLE ENOTSOCK ENOTSUP ENOTTY ENXIO EOVERFLOW
    EOWNERDEAD EPERM EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ERANGE EROFS ESPIPE ESRCH ESTALE ETIMEDOUT ETXTBSY
    EXDEV
"""
WASI_ERRNO = {getattr(host_errno, name): number for number, name in enumerate(_ERROR_NAMES.split(), 1)}
HOST_ERRNO = {number: host for host, number in WASI_ERRNO.items()}


# WasmEdge goes on where WASI ends: 77 and following.
RESOLVER_ERRNO = {
    number: wasi
    for wasi, number in enumerate(
        (
            EAI_ADDRFAMILY,
            EAI_AGAIN,
            EAI_BADFLAGS,
            EAI_FAIL,
            EAI_FAMILY,
            EAI_MEMORY,
            EAI_NODATA,
            EAI_NONAME,
            EAI_SERVICE,
            EAI_SOCKTYPE,
            EAI_SYSTEM,
        ),
        77,
    )
}


def wasi_errno(error: OSError) -> int:
    """WASI's number for a failed system call or look-up; EIO for what WASI has no number for."""
    numbers = RESOLVER_ERRNO if isinstance(error, gaierror) else WASI_ERRNO
    return numbers.get(error.errno or 0, WASI_ERRNO[host_errno.EIO])


def refuse(number: int) -> OSError:
    """The error to raise for a refusal of our own, by the host's errno."""
    return OSError(number, "")
