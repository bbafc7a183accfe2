"""The fixed system call filter of a container process, for the time after its workload is loaded. seccomp(2).

An allow-list of what the engine, WASI's files and sockets and our own main thread call; what is not on it fails with
EPERM (ENOSYS where libraries then take an older way), and a call by another architecture's numbers kills. No program
can be started, no process made or touched, no memory become executable: compiled code is mapped, and every callback
of ours made, before. It cannot see behind pointers; paths are the business of Landlock and mounts.
"""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ENOSYS, EPERM

from sampan.core.errors import Internal, Invalid, Precondition, Unimplemented, from_os_error
from sampan.linux import profiles, syscalls
from sampan.linux.numbers import ARCHITECTURE, AUDIT_ARCHITECTURES, NUMBERS

_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_TSYNC = 1
MAX_INSTRUCTIONS = 4096

# offsets in struct seccomp_data
_NUMBER, _ARCH, _ARGS = 0, 4, 16

# classic BPF
_LOAD, _AND = 0x20, 0x54
_EQUAL, _AT_LEAST, _ANY_BITS, _RETURN = 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _FAIL = 0x80000000, 0x7FFF0000, 0x00050000

ALLOWED = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile splice copy_file_range
open openat openat2 close close_range dup dup2 dup3 pipe pipe2 flock
fstat newfstatat stat lstat statx access faccessat faccessat2 getcwd getdents64 readlink readlinkat
mkdir mkdirat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink symlinkat
utimensat futimesat
ftruncate truncate fallocate fadvise64 fsync fdatasync sync_file_range statfs fstatfs umask
munmap mremap madvise brk mincore memfd_create membarrier
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait rt_sigpending rt_sigsuspend
sigaltstack restart_syscall
futex sched_yield sched_getaffinity set_robust_list rseq set_tid_address exit exit_group
gettid getpid getppid getuid geteuid getgid getegid getgroups
getresuid getresgid uname sysinfo getrusage times
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getrandom getrlimit
epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6 eventfd2
timerfd_create timerfd_settime timerfd_gettime
accept accept4 getsockname getpeername getsockopt setsockopt shutdown
sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
""".split()  # noqa: SIM905 - a table to read
"""Allowed whatever the arguments. The socket calls need a descriptor: the control socket, or what the rules
below let a guest make."""

NEWEST = 472
"""Numbers from here on were unknown when this was written: ENOSYS, so that libraries try older calls."""

_EXECUTABLE = 0x4  # PROT_EXEC
_THREAD = 0x00010000  # CLONE_THREAD: anything else that clones is a process
_SET_ID_BITS = 0o6000
_PR_SET_NAME = 15
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032, 1033, 1034)
"""Duplicate, flags, locks, pipe sizes, seals; not F_SETOWN and its kin, which send signals."""
_IOCTLS = (0x5401, 0x5413, 0x5414, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, TIOCSWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; above all not TIOCSTI."""
_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_SOCKET_TYPES = (1, 2)  # stream and datagram, below the flags
_PROTOCOLS = (0, 6, 17)  # by type, TCP, UDP

Instruction = tuple[int, int, int, int]  # code, steps if true, steps if false, value


def install(network: bool, extra: tuple[bytes, list[str]] | None = None) -> None:
    """Filter all threads of this process, for good; call `no_new_privileges` before.

    Args:
        network: TCP and UDP sockets may be made.
        extra: a program of `profiles.compile_profile` and its flags; a call must then pass both filters.

    Raises:
        Precondition: no_new_privs is not set.
        Unimplemented: the kernel has no seccomp filters.
    """
    own = assemble(program(network, os.getpid()))
    if extra is not None:
        install_program(*extra)
    _install(own, _TSYNC)


def install_program(program: bytes, flags: list[str]) -> None:
    """Filter all threads by another program, with our own still to come.

    It comes first because ours allows no further filter. A profile may deny `seccomp` itself, so that one call
    is let through in front of it; ours then denies it for good. Of all filters, the strictest answer counts.

    Args:
        program: the kernel's `struct sock_filter` array. flags: the spec's names of them.

    Raises:
        Invalid: the kernel does not take the program or a flag. SampanError: as `install`.
    """
    chosen = _TSYNC
    for flag in flags:
        chosen |= profiles.flag_of(flag)
    let_through = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 0, 3, AUDIT_ARCHITECTURES[ARCHITECTURE]),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 1, NUMBERS["seccomp"][ARCHITECTURE]),
        (_RETURN, 0, 0, _ALLOW),
    ]
    _install(assemble(let_through) + program, chosen)


def _install(code: bytes, flags: int) -> None:
    import ctypes

    count = len(code) // 8
    if count > MAX_INSTRUCTIONS:
        raise Invalid(
            f"the system call filter has {count} instructions, more than the {MAX_INSTRUCTIONS} allowed"
        )
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a 16 bit count, padding, a pointer
    header = count.to_bytes(8, "little") + ctypes.addressof(buffer).to_bytes(8, "little")
    try:
        refused = syscalls.call("seccomp", _SET_MODE_FILTER, flags, header)
    except OSError as error:
        if error.errno == EINVAL:
            raise Invalid("the kernel does not take the system call filter") from error
        if error.errno == EACCES:
            raise Precondition("seccomp needs no_new_privs to be set first") from error
        if error.errno == ENOSYS:
            raise Unimplemented("the kernel has no seccomp filters") from error
        raise from_os_error(error, "install the system call filter") from error
    if refused:
        raise Internal(f"thread {refused} did not take the system call filter")


def is_available() -> bool:
    """Whether the kernel has seccomp filters."""
    try:
        syscalls.call("seccomp", _GET_ACTION_AVAIL, 0, _ALLOW.to_bytes(4, "little"))
    except OSError:
        return False
    return True


def program(network: bool, pid: int) -> list[Instruction]:
    """The filter's instructions for this machine's architecture; only `pid` may be signalled."""
    out: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCHITECTURES[ARCHITECTURE]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, NEWEST),  # x32's numbers, too
        (_RETURN, 0, 0, _FAIL | ENOSYS),
    ]
    plain = [*ALLOWED, "bind", "listen", "connect"] if network else ALLOWED
    for name in plain:
        out += _on(name, [(_RETURN, 0, 0, _ALLOW)])
    for name, rule in _rules(network, pid).items():
        out += _on(name, rule)
    out.append((_RETURN, 0, 0, _FAIL | EPERM))
    return out


def _rules(network: bool, pid: int) -> dict[str, list[Instruction]]:
    """The calls whose arguments decide."""
    no_code = _no_bits(2, _EXECUTABLE)
    socket = _one_of(0, _FAMILIES) + _one_of(1, _SOCKET_TYPES, mask=0xF) + _one_of(2, _PROTOCOLS)
    return {
        "mmap": [*no_code, _YES],
        "mprotect": [*no_code, _YES],
        "clone": [*_all_bits(0, _THREAD), _YES],
        "clone3": [(_RETURN, 0, 0, _FAIL | ENOSYS)],  # its flags are behind a pointer; libc then calls clone
        "kill": [*_one_of(0, (pid,)), _YES],
        "tgkill": [*_one_of(0, (pid,)), _YES],
        "prctl": [*_one_of(0, (_PR_SET_NAME,)), _YES],
        "fcntl": [*_one_of(1, _FCNTLS), _YES],
        "ioctl": [*_one_of(1, _IOCTLS), _YES],
        "fchmod": [*_no_bits(1, _SET_ID_BITS), _YES],
        "prlimit64": [*_one_of(0, (0,)), *_null(2), _YES],
        "socket": [*socket, _YES] if network else [_NO],
    }


_YES: Instruction = (_RETURN, 0, 0, _ALLOW)
_NO: Instruction = (_RETURN, 0, 0, _FAIL | EPERM)


def _on(name: str, rule: list[Instruction]) -> list[Instruction]:
    """`rule`, which always returns, for one system call; nothing where the architecture lacks it."""
    number = NUMBERS[name][ARCHITECTURE]
    return [(_EQUAL, 0, len(rule), number), *rule] if number >= 0 else []


def _one_of(argument: int, values: tuple[int, ...], mask: int = 0xFFFFFFFF) -> list[Instruction]:
    """Go on if the argument, an int to the kernel, is one of these; else refuse."""
    tests = [(_EQUAL, len(values) - i, 0, value & 0xFFFFFFFF) for i, value in enumerate(values)]
    return [(_LOAD, 0, 0, _ARGS + 8 * argument), (_AND, 0, 0, mask), *tests, _NO]


def _no_bits(argument: int, mask: int) -> list[Instruction]:
    """Go on if none of the bits is set; else refuse."""
    return [(_LOAD, 0, 0, _ARGS + 8 * argument), (_ANY_BITS, 0, 1, mask), _NO]


def _all_bits(argument: int, mask: int) -> list[Instruction]:
    """Go on if all of the bits are set; else refuse."""
    return [(_LOAD, 0, 0, _ARGS + 8 * argument), (_AND, 0, 0, mask), (_EQUAL, 1, 0, mask), _NO]


def _null(argument: int) -> list[Instruction]:
    """Go on if a pointer is null; else refuse."""
    low = _ARGS + 8 * argument
    return [(_LOAD, 0, 0, low), (_EQUAL, 1, 0, 0), _NO, (_LOAD, 0, 0, low + 4), (_EQUAL, 1, 0, 0), _NO]


def assemble(instructions: list[Instruction]) -> bytes:
    """The kernel's `struct sock_filter` array."""
    return b"".join(
        code.to_bytes(2, "little") + bytes((true, false)) + value.to_bytes(4, "little")
        for code, true, false, value in instructions
    )
