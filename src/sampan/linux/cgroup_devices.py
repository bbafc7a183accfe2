"""The devices rules of a spec: exceptions of version 1, and a small program (eBPF) on version 2.

Rules count in their order, as runc counts them: everything is denied at first, `a` decides for all devices, and the
devices that every container needs are allowed at the end, unless all were. A rule that would take a part of a wider
exception is refused: version 1 would silently not obey it. Kernel documents: cgroup-v1/devices, cgroup-v2 "Device".
"""

from __future__ import annotations

import os
import struct

from sampan.core.errors import Invalid, Unimplemented
from sampan.core.record import Record
from sampan.core.spec.runtime import DeviceRule

Key = tuple[str, int, int]
"""The type, c or b, and the major and minor number; -1 is every one."""

ANY = -1
DEFAULTS: list[Key] = [("c", 1, 3), ("c", 1, 8), ("c", 1, 7), ("c", 5, 0), ("c", 1, 5), ("c", 1, 9),
                       ("c", 136, ANY), ("c", 5, 2)]  # fmt: skip


class Policy(Record):
    """What is decided for all devices, and for which ones the contrary holds, with the letters of r, w, m."""

    allow: bool
    exceptions: dict[Key, str]


def policy(rules: list[DeviceRule]) -> Policy:
    """The outcome of these rules and the default devices.

    Raises:
        Invalid: a rule has an unknown type or letter.
        Unimplemented: a rule takes a part of a wider one.
    """
    out = Policy(False, {})
    for rule in rules:
        _apply(out, rule)
    if not out.allow:
        for kind in "cb":
            _apply(out, DeviceRule(True, kind, ANY, ANY, "m"))
        for kind, major, minor in DEFAULTS:
            _apply(out, DeviceRule(True, kind, major, minor, "rwm"))
    return out


def _apply(out: Policy, rule: DeviceRule) -> None:
    access = rule.access or "rwm"
    if rule.type not in ("", "a", "c", "b", "u") or not set(access) <= set("rwm"):
        raise Invalid(f"a device rule of type {rule.type!r} and access {access!r} is not known")
    if rule.type in ("", "a"):
        out.allow, out.exceptions = rule.allow, {}
        return
    kind = "c" if rule.type == "u" else rule.type
    major, minor = (ANY if n is None else n for n in (rule.major, rule.minor))
    key = (kind, major, minor)
    if rule.allow != out.allow:
        out.exceptions[key] = _letters(out.exceptions.get(key, "") + access)
        return
    for other, letters in list(out.exceptions.items()):
        if other == key or _covers(key, other):
            out.exceptions[other] = "".join(x for x in letters if x not in access)
            if not out.exceptions[other]:
                del out.exceptions[other]
        elif _covers(other, key) and set(letters) & set(access):
            shown = ":".join("*" if n == ANY else str(n) for n in key[1:])
            raise Unimplemented(
                f"the device rule for {kind} {shown} takes a part of a wider one before it",
                fix="name the devices that are allowed instead",
            )


def _covers(wide: Key, narrow: Key) -> bool:
    return wide[0] == narrow[0] and wide[1] in (ANY, narrow[1]) and wide[2] in (ANY, narrow[2])


def _letters(access: str) -> str:
    return "".join(x for x in "rwm" if x in access)


def v1_values(chosen: Policy) -> list[tuple[str, list[str]]]:
    """The files of version 1 and what to write into them, in this order."""
    first, then = ("allow", "deny") if chosen.allow else ("deny", "allow")
    lines = []
    for (kind, major, minor), access in chosen.exceptions.items():
        numbers = ":".join("*" if n == ANY else str(n) for n in (major, minor))
        lines.append(f"{kind} {numbers} {access}")
    return [(f"devices.{first}", ["a"]), (f"devices.{then}", lines)]


# eBPF: linux/bpf.h and linux/bpf_common.h
_LOAD_WORD, _AND, _SHIFT, _MOVE, _MOVE_REGISTER = 0x61, 0x57, 0x77, 0xB7, 0xBF
_UNEQUAL, _EQUAL, _UNEQUAL_REGISTERS, _EXIT = 0x55, 0x15, 0x5D, 0x95
_KIND, _ACCESS, _MAJOR, _MINOR, _SCRATCH = 2, 3, 4, 5, 6
_PROG_LOAD, _PROG_ATTACH, _CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE = 5, 8, 15, 6
_KINDS = {"b": 1, "c": 2}
_BITS = {"m": 1, "r": 2, "w": 4}


def program(chosen: Policy) -> bytes:
    """The eBPF program of these rules: it gets (access << 16 | type, major, minor), and 1 is yes."""
    code = [
        _op(_LOAD_WORD, _KIND, 1), _op(_MOVE_REGISTER, _ACCESS, _KIND), _op(_AND, _KIND, value=0xFFFF),
        _op(_SHIFT, _ACCESS, value=16), _op(_LOAD_WORD, _MAJOR, 1, 4), _op(_LOAD_WORD, _MINOR, 1, 8),
    ]  # fmt: skip
    for (kind, major, minor), access in chosen.exceptions.items():
        tests = [(_UNEQUAL, _KIND, 0, _KINDS[kind])]
        tests += [(_UNEQUAL, _MAJOR, 0, major)] if major != ANY else []
        tests += [(_UNEQUAL, _MINOR, 0, minor)] if minor != ANY else []
        bits = sum(_BITS[letter] for letter in access)
        body = [_op(_MOVE_REGISTER, _SCRATCH, _ACCESS), _op(_AND, _SCRATCH, value=bits)]
        if chosen.allow:  # denied is what asks for one of these letters
            body.append(_op(_EQUAL, _SCRATCH, offset=2))
        else:  # allowed is what asks for nothing but them
            body.append(_op(_UNEQUAL_REGISTERS, _SCRATCH, _ACCESS, 2))
        body += [_op(_MOVE, 0, value=int(not chosen.allow)), _op(_EXIT)]
        for at, (operation, register, source, value) in enumerate(tests):
            code.append(_op(operation, register, source, len(tests) - at - 1 + len(body), value))
        code += body
    return b"".join([*code, _op(_MOVE, 0, value=int(chosen.allow)), _op(_EXIT)])


def _op(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def attach(folder: str, chosen: Policy) -> None:
    """Put the program on a cgroup of version 2, in place of one that was put there so before.

    Raises:
        OSError: the kernel does not take it.
    """
    import ctypes

    from sampan.linux import syscalls

    code = program(chosen)
    instructions, license_name = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"Apache-2.0")
    load = struct.pack(
        "=IIQQIIQII", _CGROUP_DEVICE_PROGRAM, len(code) // 8, ctypes.addressof(instructions),
        ctypes.addressof(license_name), 0, 0, 0, 0, 0,
    )  # fmt: skip
    loaded = syscalls.call("bpf", _PROG_LOAD, load, len(load))
    try:
        group = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            put = struct.pack("=IIII", group, loaded, _CGROUP_DEVICE, 0)
            syscalls.call("bpf", _PROG_ATTACH, put, len(put))
        finally:
            os.close(group)
    finally:
        os.close(loaded)
