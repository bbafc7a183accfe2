"""The spec's seccomp profile as a program for the kernel, compiled by the host's libseccomp.

config-linux.md, "Seccomp". Only this machine's own architecture gets rules: calls by another's numbers are killed,
here as by our own filter. System calls that libseccomp does not know are left out, as runc does; everything else that
is unknown is refused, and so is `SCMP_ACT_NOTIFY`, whose agent would have to answer for calls of our own. `seccomp`
installs the program.
"""

from __future__ import annotations

import os
from errno import EEXIST, EPERM

from sampan.core.errors import Invalid, Unimplemented, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from typing import Any

    from sampan.core.spec.runtime import Seccomp, SyscallArg

LIBRARY = "libseccomp.so.2"
ALLOW, ERRNO, TRACE, NOTIFY = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    ERRNO: 0x00050000,
    TRACE: 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    ALLOW: 0x7FFF0000,
}
MOST_ERRNO = {ERRNO: 4095, TRACE: 65535}
OPERATORS = {
    f"SCMP_CMP_{name}": number
    for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), start=1)
}
FLAGS = {"SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4}
ARCHITECTURES = """
X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC
PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB
""".split()  # noqa: SIM905 - the specification's list
MOST_RULES = 20_000

Argument = tuple[int, int, int, int]  # index, operator, value, second value
Rule = tuple[str, int, list[Argument]]  # name, action, conditions that must all hold


def check_profile(profile: Seccomp) -> list[Rule]:
    """The profile's rules in the kernel's numbers, checked without libseccomp.

    Raises:
        Invalid: an unknown action, operator, architecture or flag; a value out of range.
        Unimplemented: it wants calls to be answered by an agent.
    """
    default = _action(profile.default_action, profile.default_errno_ret, "linux.seccomp")
    for name in profile.architectures:
        if name.removeprefix("SCMP_ARCH_") not in ARCHITECTURES or not name.startswith("SCMP_ARCH_"):
            raise Invalid(f"linux.seccomp.architectures: {name[:40]!r} is not an architecture")
    for flag in profile.flags:
        flag_of(flag)
    if profile.listener_path:
        raise Unimplemented("linux.seccomp.listenerPath: calls cannot be answered by an agent")
    rules = []
    for number, rule in enumerate(profile.syscalls):
        where = f"linux.seccomp.syscalls[{number}]"
        action = _action(rule.action, rule.errno_ret, where)
        conditions = [_argument(arg, f"{where}.args[{i}]") for i, arg in enumerate(rule.args)]
        if not rule.names or not all(rule.names) or "\0" in "".join(rule.names):
            raise Invalid(f"{where}.names is empty, or has an empty name or a NUL in it")
        if action != default:  # libseccomp refuses those, and they say nothing
            rules += [(name, action, group) for name in rule.names for group in _groups(conditions)]
    if len(rules) > MOST_RULES:
        raise Invalid(f"linux.seccomp has {len(rules)} rules, more than the {MOST_RULES} allowed")
    return rules


def flag_of(name: str) -> int:
    """The kernel's number of a filter flag.

    Raises:
        Invalid: there is no such flag.
    """
    if name not in FLAGS:
        raise Invalid(f"linux.seccomp.flags: {name[:60]!r} is not a flag that can be used")
    return FLAGS[name]


def _action(name: str, errno_ret: int | None, where: str) -> int:
    if name == NOTIFY:
        raise Unimplemented(
            f"{where}: {NOTIFY} would let an agent answer for the runtime's own calls",
            fix="use SCMP_ACT_ERRNO",
        )
    if name not in ACTIONS:
        raise Invalid(f"{where}: {name[:40]!r} is not a seccomp action")
    most = MOST_ERRNO.get(name, -1)
    if errno_ret is None:
        return ACTIONS[name] | (EPERM if most >= 0 else 0)
    if not 0 <= errno_ret <= most:
        raise Invalid(f"{where}: {name} takes no errnoRet of {str(errno_ret)[:20]}")
    return ACTIONS[name] | errno_ret


def _argument(arg: SyscallArg, where: str) -> Argument:
    if arg.op not in OPERATORS:
        raise Invalid(f"{where}.op: {arg.op[:40]!r} is not an operator")
    if not 0 <= arg.index <= 5:
        raise Invalid(f"{where}.index is not 0 to 5")
    if not (0 <= arg.value < 1 << 64 and 0 <= arg.value_two < 1 << 64):
        raise Invalid(f"{where} has a value that is not 0 to 2^64-1")
    return arg.index, OPERATORS[arg.op], arg.value, arg.value_two


def _groups(conditions: list[Argument]) -> list[list[Argument]]:
    """Conditions on different arguments must all hold; two on the same one are rules of their own, as for runc."""
    if len({index for index, *_ in conditions}) == len(conditions):
        return [conditions]
    return [[condition] for condition in conditions]


def compile_profile(profile: Seccomp) -> bytes:
    """The profile as the kernel's `struct sock_filter` array.

    Raises:
        Invalid: as `check_profile`; rules that contradict each other.
        Unimplemented: the host has no libseccomp.
    """
    rules = check_profile(profile)
    library = _load()
    default = _action(profile.default_action, profile.default_errno_ret, "linux.seccomp")
    context = library.seccomp_init(default)
    if not context:
        raise Invalid(f"libseccomp refuses {profile.default_action} as the default action")
    try:
        for name, action, conditions in rules:
            _add(library, context, name, action, conditions)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _load() -> Any:
    """libseccomp, with the types of what is called."""
    import ctypes

    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise Unimplemented(
            f"the container has a seccomp profile, and this host has no {LIBRARY}",
            fix="install libseccomp (package libseccomp2), or run without a profile: --security-opt seccomp=unconfined",
        ) from error
    pointer, number, word = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32
    library.seccomp_init.restype, library.seccomp_init.argtypes = pointer, [word]
    library.seccomp_release.restype, library.seccomp_release.argtypes = None, [pointer]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [pointer, word, number, ctypes.c_uint, pointer]
    library.seccomp_export_bpf.argtypes = [pointer, number]
    return library


def _add(library: Any, context: int, name: str, action: int, conditions: list[Argument]) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode(errors="replace"))
    if number == -1:
        return
    refused = -library.seccomp_rule_add_array(context, action, number, len(conditions), _packed(conditions))
    if refused == EEXIST:
        raise Invalid(f"linux.seccomp has rules for {name[:40]!r} that contradict each other")
    if refused:
        raise Invalid(f"libseccomp refuses the rule for {name[:40]!r}: {os.strerror(refused)}")


def _packed(conditions: list[Argument]) -> ctypes.Array[ctypes.c_char]:
    """An array of `struct scmp_arg_cmp`: two unsigned ints, two 64 bit values."""
    import ctypes

    parts = [
        index.to_bytes(4, "little")
        + operator.to_bytes(4, "little")
        + first.to_bytes(8, "little")
        + second.to_bytes(8, "little")
        for index, operator, first, second in conditions
    ]
    data = b"".join(parts)
    return ctypes.create_string_buffer(data, max(1, len(data)))


def _export(library: Any, context: int) -> bytes:
    try:
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            refused = -library.seccomp_export_bpf(context, fd)
            if refused:
                raise OSError(refused, os.strerror(refused))
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise from_os_error(error, "compile the seccomp profile") from error
