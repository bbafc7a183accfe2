"""Kernel parameters: only those of the container's own namespaces, and really there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, NotFound
from sampan.linux import namespaces
from sampan.linux.sysctls import apply, check

ALL = {"ipc", "network", "uts", "mount", "pid", "user", "cgroup", "time"}
NEEDS = {
    "kernel.msgmax": "ipc", "kernel.msgmnb": "ipc", "kernel.msgmni": "ipc", "kernel.sem": "ipc",
    "kernel.shmall": "ipc", "kernel.shmmax": "ipc", "kernel.shmmni": "ipc", "kernel.shm_rmid_forced": "ipc",
    "fs.mqueue.msg_max": "ipc", "net.ipv4.ip_forward": "network", "net.core.somaxconn": "network",
    "kernel.domainname": "uts",
}  # fmt: skip


@pytest.mark.parametrize(("name", "namespace"), NEEDS.items())
def test_each_needs_its_namespace(name, namespace):
    check({name: "1"}, {namespace})
    with pytest.raises(Invalid, match=f"not allowed in the host's {namespace} namespace"):
        check({name: "1"}, ALL - {namespace})


@pytest.mark.parametrize(
    "name", ["vm.swappiness", "kernel.core_pattern", "fs.file-max", "kernel", "user.max_user_namespaces"]
)
def test_what_is_the_hosts_is_refused(name):
    with pytest.raises(Invalid, match="not in a separate kernel namespace"):
        check({name: "1"}, ALL)


def test_the_host_name_has_a_field_of_its_own():
    with pytest.raises(Invalid, match="conflicts with the OCI field hostname"):
        check({"kernel.hostname": "x"}, ALL)


@pytest.mark.parametrize("name", [
    "", ".", "net..x", "net.", ".net", "net/ipv4/ip_forward", "net.../../../kernel.core_pattern", "net.a\0b",
    "net.a\nb", "net.é", "..", "net.ipv4/../../kernel/core_pattern",
])  # fmt: skip
def test_a_malformed_name_is_refused(name):
    with pytest.raises(Invalid, match=r"malformed|separate"):
        check({name: "1"}, ALL)


@pytest.mark.parametrize("value", ["a\0b", "x" * 4097])
def test_a_value_that_no_file_takes(value):
    with pytest.raises(Invalid, match="value"):
        check({"kernel.msgmax": value}, ALL)


@given(st.text(), st.text())
def test_any_name_is_taken_or_refused(name, value):
    try:
        check({name: value}, ALL)
    except Invalid:
        return
    assert name.startswith(("net.", "fs.mqueue.", "kernel."))
    assert "/" not in name


def read(name):
    with open("/proc/sys/" + name.replace(".", "/")) as file:
        return file.read().strip()


def test_they_are_set_in_the_new_namespaces_and_not_outside(as_root, in_child):
    names = ("kernel.msgmax", "kernel.domainname", "net.ipv4.ip_forward")
    before = [read(name) for name in names]

    def change():
        namespaces.unshare(namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWNET)
        apply({"kernel.msgmax": "12345", "kernel.domainname": "harbour", "net.ipv4.ip_forward": "1"})
        return [read(name) for name in names]

    assert in_child(change) == ["12345", "harbour", "1"]
    assert [read(name) for name in names] == before


def test_what_the_kernel_does_not_have_or_take(as_root, in_child):
    def attempt():
        namespaces.unshare(namespaces.NEWIPC | namespaces.NEWNET)
        kinds = []
        for values in ({"net.ipv4.no_such": "1"}, {"kernel.msgmax": "many"}):
            try:
                apply(values)
            except (NotFound, Invalid) as error:
                kinds.append(error.kind)
        return kinds

    assert in_child(attempt) == ["NOT_FOUND", "INVALID"]
