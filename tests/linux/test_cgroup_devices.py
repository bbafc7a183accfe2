"""Devices rules: their outcome, and both kernels' mechanisms on a real group."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, Unimplemented
from sampan.core.spec.runtime import DeviceRule, Resources
from sampan.linux.cgroup_devices import policy, program, v1_values
from sampan.linux.cgroups import ROOT, Cgroup, hierarchy

NOTHING = DeviceRule(False, access="rwm")
ZERO = ("c", 1, 5)


def test_devices_that_every_container_needs_are_allowed():
    values = dict(v1_values(policy([NOTHING, DeviceRule(True, "c", 10, 229, "rw")])))
    assert values["devices.deny"] == ["a"]
    assert values["devices.allow"] == [
        "c 10:229 rw", "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm", "c 1:7 rwm", "c 5:0 rwm", "c 1:5 rwm",
        "c 1:9 rwm", "c 136:* rwm", "c 5:2 rwm",
    ]  # fmt: skip


def test_later_rules_count():
    allowed = policy([DeviceRule(True, "a"), DeviceRule(False, "b", 8, None, "w")])
    assert v1_values(allowed) == [("devices.allow", ["a"]), ("devices.deny", ["b 8:* w"])]
    undone = policy([NOTHING, DeviceRule(True, "c", 10, 1, "rw"), DeviceRule(False, "c", 10, 1, "w")])
    assert undone.exceptions[("c", 10, 1)] == "r"
    gone = policy([NOTHING, DeviceRule(True, "c", 10, 1, "rw"), DeviceRule(False, "c", 10, -1, "rwm")])
    assert ("c", 10, 1) not in gone.exceptions


def test_C16_rules_that_cannot_be_obeyed_are_refused():
    with pytest.raises(Invalid):
        policy([DeviceRule(True, "x", 1, 1, "r")])
    with pytest.raises(Invalid):
        policy([DeviceRule(True, "c", 1, 1, "rx")])
    with pytest.raises(Unimplemented):
        policy([NOTHING, DeviceRule(True, "c", 10, None, "rw"), DeviceRule(False, "c", 10, 1, "w")])


def opens(group):
    """What a child in this group may do with two devices."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            group.attach()
            answers = []
            for device, flags in (
                ("/dev/zero", os.O_RDONLY),
                ("/dev/zero", os.O_RDWR),
                ("/dev/kmsg", os.O_RDONLY),
            ):
                try:
                    os.close(os.open(device, flags | os.O_NONBLOCK))
                    answers.append("yes")
                except PermissionError:
                    answers.append("no")
            os.write(writing, " ".join(answers).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    answers = os.read(reading, 100).decode().split()
    os.close(reading)
    return answers


@pytest.fixture(params=["v1", "v2"])
def group(request, as_root):
    root = ROOT if request.param == "v1" else f"{ROOT}/unified"
    if hierarchy(root) != request.param:
        pytest.skip(f"needs cgroup {request.param}")
    group = Cgroup(f"test-{os.getpid()}", root=root)
    yield group
    group.remove()


def test_what_is_not_allowed_cannot_be_opened(group):
    group.create(Resources(devices=[NOTHING]))
    assert group.missing == []
    assert opens(group) == ["yes", "yes", "no"]
    group.update(
        Resources(devices=[NOTHING, DeviceRule(True, "c", 1, 11, "r")])
    )  # in place of the rules before
    assert opens(group) == ["yes", "yes", "yes"]
    group.update(Resources(devices=[DeviceRule(True, "a"), DeviceRule(False, "c", 1, 5, "w")]))
    assert opens(group) == ["yes", "no", "yes"]


RULES = st.builds(
    DeviceRule, st.booleans(), st.sampled_from(["a", "b", "c"]), st.sampled_from([None, 1, 10]),
    st.sampled_from([None, 3, 5]), st.sampled_from(["", "r", "rw", "rwm", "m"]),
)  # fmt: skip


def run(code, kind, access, major, minor):
    """What the program answers: the few instructions that it is made of, interpreted."""
    import struct

    register = [0] * 11
    context = {0: access << 16 | kind, 4: major, 8: minor}
    at = 0
    while True:
        operation, registers, offset, value = struct.unpack_from("=BBhi", code, at * 8)
        target, source = registers & 15, registers >> 4
        at += 1
        match operation:
            case 0x61:
                register[target] = context[offset]
            case 0x57:
                register[target] &= value
            case 0x77:
                register[target] >>= value
            case 0xB7:
                register[target] = value
            case 0xBF:
                register[target] = register[source]
            case 0x55:
                at += offset if register[target] != value else 0
            case 0x15:
                at += offset if register[target] == value else 0
            case 0x5D:
                at += offset if register[target] != register[source] else 0
            case 0x95:
                return register[0]
            case _:
                raise AssertionError(hex(operation))


@given(st.lists(RULES, max_size=6), st.sampled_from("bc"), st.sampled_from([1, 7, 10]), st.sampled_from([3, 4, 5]),
       st.sampled_from(["r", "w", "m", "rw"]))  # fmt: skip
def test_the_program_decides_as_the_rules_say(rules, kind, major, minor, access):
    try:
        chosen = policy(rules)
    except Unimplemented:
        return
    hits = [
        letters for (k, a, b), letters in chosen.exceptions.items()
        if k == kind and a in (-1, major) and b in (-1, minor)
    ]  # fmt: skip
    if chosen.allow:
        expected = not any(set(access) & set(letters) for letters in hits)
    else:
        expected = any(set(access) <= set(letters) for letters in hits)
    bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    assert run(program(chosen), {"b": 1, "c": 2}[kind], bits, major, minor) == expected
