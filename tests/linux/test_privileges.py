"""What is given up is really gone."""

from __future__ import annotations

import fcntl
import os
import resource

import pytest

from sampan.core.errors import Denied, Invalid
from sampan.linux import privileges, processes
from sampan.linux.privileges import (
    CAPABILITIES,
    close_from,
    drop_capabilities,
    no_new_privileges,
    not_dumpable,
    set_rlimits,
    set_user,
)


def status(*keys):
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return [fields[key].strip() for key in keys]


CAPS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def test_all_five_sets_are_empty(as_root, in_child):
    def drop():
        drop_capabilities()
        return status(*CAPS)

    assert in_child(drop) == ["0000000000000000"] * 5


def test_root_without_capabilities_cannot_use_them(as_root, in_child, tmp_path):
    def drop():
        drop_capabilities()
        failed = 0
        for attempt in (
            lambda: os.chroot("/"),
            lambda: os.mknod(f"{tmp_path}/null", 0o20666, os.makedev(1, 3)),
            lambda: os.setresuid(1, 1, 1),
            lambda: os.chown(str(tmp_path), 1, 1),
        ):
            try:
                attempt()
            except PermissionError:
                failed += 1
        return failed

    assert in_child(drop) == 4


def test_what_is_kept_stays_through_a_change_of_user(as_root, nobody, in_child):
    def become():
        set_user(nobody, nobody, [], keep_capabilities=True)
        drop_capabilities(["CAP_NET_BIND_SERVICE"])
        return [*status(*CAPS), *status("Uid", "Gid", "Groups")]

    bit = f"{1 << CAPABILITIES.index('NET_BIND_SERVICE'):016x}"
    ids = "\t".join([str(nobody)] * 4)
    assert in_child(become) == ["0" * 16, bit, bit, bit, "0" * 16, ids, ids, ""]


def test_a_change_of_user_cannot_be_undone(as_root, nobody, in_child):
    def become():
        set_user(nobody, nobody, [])
        for attempt in (lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.setgid(0)):
            try:
                attempt()
            except PermissionError:
                continue
            return False
        return status("CapPrm") == ["0" * 16]

    assert in_child(become)


def test_an_ordinary_user_can_drop_and_keeps_nothing(nobody, in_child):
    def drop():
        drop_capabilities()
        try:
            drop_capabilities(["CAP_SYS_ADMIN"])
        except Denied:
            return status("CapPrm", "CapEff")
        return None

    assert in_child(drop, user=nobody) == ["0" * 16] * 2


@pytest.mark.parametrize("name", ["CAP_", "CAP_ROOT", "cap_chown", ""])
def test_C17_a_name_that_is_no_capability(name):
    with pytest.raises(Invalid):
        drop_capabilities([name])


@pytest.mark.parametrize(("uid", "gid", "groups"), [
    (-1, 0, None), (2**32 - 1, 0, None), (2**32, 0, None), (0, -1, None), (0, 0, [-1]), (0, 0, [0] * 70_000),
    (True, 0, None), ("0", 0, None),
])  # fmt: skip
def test_C18_ids_that_are_none(uid, gid, groups):
    with pytest.raises(Invalid):
        set_user(uid, gid, groups)


@pytest.mark.parametrize("limits", [
    {"RLIMIT_NOFILE": (20, 10)}, {"RLIMIT_NOFILE": (-1, 10)}, {"RLIMIT_NOFILE": (-2, 10)}, {"NOFILE": (1, 1)},
    {"RLIMIT_X": (1, 1)}, {"RLIMIT_NOFILE": (1 << 64, 1 << 64)}, {"RLIM_INFINITY": (1, 1)},
])  # fmt: skip
def test_C18_limits_that_are_none(limits):
    with pytest.raises(Invalid):
        set_rlimits(limits)


def test_limits_hold(in_child):
    def limit():
        set_rlimits(
            {"RLIMIT_NOFILE": (16, 32), "RLIMIT_CORE": (0, 0), "RLIMIT_FSIZE": (2**64 - 1, 2**64 - 1)}
        )
        fds = []
        try:
            while True:
                fds.append(os.open("/", os.O_PATH))
        except OSError as error:
            full = error.errno
        return full, resource.getrlimit(resource.RLIMIT_CORE), max(fds) < 16

    assert in_child(limit) == (24, (0, 0), True)


def test_a_hard_limit_cannot_be_raised_without_the_capability(nobody, in_child):
    def raise_it():
        set_rlimits({"RLIMIT_NOFILE": (16, 16)})
        try:
            set_rlimits({"RLIMIT_NOFILE": (17, 17)})
        except Denied:
            return True
        return False

    assert in_child(raise_it, user=nobody)


def test_C22_inherited_descriptors_are_closed(in_child):
    def close():
        planted = [fcntl.fcntl(0, fcntl.F_DUPFD, 200) for _ in range(64)]
        kept = [planted[3], planted[40], planted[63]]
        close_from(planted[0], kept)
        return [fd for fd in planted if is_open(fd)] == kept

    def is_open(fd):
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    assert in_child(close)


def test_flags_are_set_for_good(in_child):
    def give_up():
        no_new_privileges()
        not_dumpable()
        return status("NoNewPrivs"), privileges.syscalls.call("prctl", 3)  # PR_GET_DUMPABLE

    assert in_child(give_up) == (["1"], 0)


def test_the_name_is_seen_by_ps(in_child):
    def take():
        processes.set_name("sampan: a very long name")
        return status("Name")

    assert in_child(take) == ["sampan: a very"]


def test_every_limit_of_the_specification_is_known(in_child):
    """RLIMIT_LOCKS, which Python has no name for, too."""

    def keep_all():
        set_rlimits({name: resource.getrlimit(number) for number, name in enumerate(privileges.RLIMITS)})
        return len(privileges.RLIMITS)

    assert in_child(keep_all) == 16


def test_C18_a_hard_limit_above_the_present_one_is_named(nobody, in_child):
    def attempt():
        set_rlimits({"RLIMIT_NOFILE": (16, 32)})
        try:
            set_rlimits({"RLIMIT_NOFILE": (16, 33)})
        except Denied as error:
            return error.message
        return ""

    said = in_child(attempt, user=nobody)
    assert "RLIMIT_NOFILE to 16:33" in said
    assert "the hard limit is 32" in said
