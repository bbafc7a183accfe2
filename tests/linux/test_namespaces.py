"""Namespaces are really left."""

from __future__ import annotations

import os
import socket

import pytest

from sampan.core.errors import Denied, Invalid, Precondition
from sampan.linux import namespaces
from sampan.linux.namespaces import can_unshare_user, enter, map_user, raise_loopback, unshare


def name(kind, pid="self"):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


@pytest.mark.parametrize(("kind", "flag"), [
    ("mnt", namespaces.NEWNS), ("ipc", namespaces.NEWIPC), ("uts", namespaces.NEWUTS), ("net", namespaces.NEWNET),
    ("cgroup", namespaces.NEWCGROUP), ("user", namespaces.NEWUSER),
])  # fmt: skip
def test_a_new_namespace_is_another_one(as_root, in_child, kind, flag):
    before = name(kind)

    def leave():
        unshare(flag)
        return name(kind)

    assert in_child(leave) != before
    assert name(kind) == before


@pytest.mark.parametrize("user", [None, 65534])
def test_a_user_namespace_maps_one_id_onto_itself(as_root, in_child, user):
    def enter_own():
        uid, gid = os.geteuid(), os.getegid()
        unshare(namespaces.NEWUSER | namespaces.NEWNS)
        map_user(uid, gid)
        with open("/proc/self/setgroups") as file:
            groups = file.read().strip()
        with open("/proc/self/status") as file:
            effective = next(line for line in file if line.startswith("CapEff"))
        return (os.geteuid() == uid, os.getegid() == gid, groups, effective.split()[1] != "0" * 16)

    assert in_child(enter_own, user=user) == (True, True, "deny", True)


def test_an_ordinary_user_needs_a_user_namespace(nobody, in_child):
    def attempt():
        try:
            unshare(namespaces.NEWNS)
        except Denied:
            return can_unshare_user()
        return None

    assert in_child(attempt, user=nobody) is True


def test_whether_it_can_be_had_is_tried_and_not_guessed(nobody, in_child, as_root):
    path = "/proc/sys/user/max_user_namespaces"

    def forbid_and_ask():
        unshare(namespaces.NEWUSER)
        map_user(0, 0)
        with open(path, "w") as file:  # this namespace's own limit
            file.write("0")
        return can_unshare_user()

    assert in_child(forbid_and_ask) is False
    assert in_child(can_unshare_user) is True


def test_a_namespace_is_entered_by_its_descriptor(as_root, in_child):
    def come_back():
        home = os.open("/proc/self/ns/uts", os.O_RDONLY)
        first = name("uts")
        unshare(namespaces.NEWUTS)
        away = name("uts")
        enter(home, namespaces.NEWUTS)
        return first == name("uts") != away

    assert in_child(come_back)


def test_C19_a_file_that_is_no_namespace_or_of_another_kind(as_root, in_child):
    def attempt():
        refused = 0
        for path in ("/proc/self/ns/uts", "/proc/self/status"):
            fd = os.open(path, os.O_RDONLY)
            try:
                enter(fd, namespaces.NEWNET)
            except Precondition:
                refused += 1
        return refused

    assert in_child(attempt) == 2


def test_a_host_has_its_names_in_its_own_namespace(as_root, in_child):
    before = os.uname().nodename

    def rename():
        unshare(namespaces.NEWUTS)
        namespaces.set_hostname("h" * 64)
        namespaces.set_domainname("harbour")
        with open("/proc/sys/kernel/domainname") as file:
            return os.uname().nodename, file.read().strip()

    assert in_child(rename) == ("h" * 64, "harbour")
    assert os.uname().nodename == before


@pytest.mark.parametrize("text", ["h" * 65, "a\0b", "é" * 33])
def test_a_name_that_no_host_can_have(text):
    with pytest.raises(Invalid):
        namespaces.set_hostname(text)


def test_a_plain_user_names_no_host(nobody, in_child):
    def attempt():
        try:
            namespaces.set_hostname("mine")
        except Denied:
            return True
        return False

    assert in_child(attempt, user=nobody)


def test_a_new_network_namespace_has_a_loopback_interface_once_it_is_raised(as_root, in_child):
    def connect_to_self():
        unshare(namespaces.NEWNET)
        raise_loopback()
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
        return True

    assert in_child(connect_to_self)
