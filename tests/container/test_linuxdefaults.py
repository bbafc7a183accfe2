"""What a Linux container's spec has unless it is told otherwise."""

import os

import pytest

from sampan.container.linuxdefaults import CAPABILITIES, MOUNTS, with_defaults
from sampan.core.spec.runtime import Linux, Memory, Mount, Process, Resources, Spec, User


def spec(user=None, mounts=(), resources=None):
    return Spec("1.2.0", Process(["/bin/sh"], user=user), mounts=list(mounts), linux=Linux(resources))


@pytest.fixture
def root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)


def kinds(made):
    return {namespace.type for namespace in made.linux.namespaces}


def test_it_is_what_docker_gives(root):
    made = with_defaults(spec(), "/sampan/x", [], host_network=False)
    assert len(CAPABILITIES) == 14
    assert made.process.capabilities.effective == made.process.capabilities.bounding == list(CAPABILITIES)
    assert made.process.capabilities.inheritable == []
    assert kinds(made) == {"pid", "mount", "ipc", "uts", "cgroup", "network"}
    assert [mount.destination for mount in made.mounts] == [mount.destination for mount in MOUNTS]
    assert "/proc/kcore" in made.linux.masked_paths
    assert "/proc/sys" in made.linux.readonly_paths
    assert made.linux.cgroups_path == "/sampan/x"
    assert made.process.user.umask == 0o022
    rule = made.linux.resources.devices[0]
    assert (rule.allow, rule.access) == (False, "rwm")


def test_another_user_has_no_capabilities_but_those_of_programs_that_carry_them(root):
    made = with_defaults(spec(User(1000, 1000)), "", [], host_network=False)
    assert made.process.capabilities.effective == made.process.capabilities.permitted == []
    assert made.process.capabilities.bounding == list(CAPABILITIES)


def test_capabilities_are_dropped_one_by_one_or_all(root):
    one = with_defaults(spec(), "", ["CAP_CHOWN"], host_network=False).process.capabilities
    assert set(CAPABILITIES) - set(one.bounding) == {"CAP_CHOWN"}
    assert with_defaults(spec(), "", ["CAP_ALL"], host_network=False).process.capabilities.bounding == []


def test_the_users_mounts_win_and_come_last(root):
    own = [Mount("/dev/shm", "bind", "/x", ["bind"]), Mount("/data", "bind", "/y", ["bind"])]
    made = with_defaults(spec(mounts=own), "", [], host_network=False)
    assert made.mounts[-2:] == own
    assert [mount.destination for mount in made.mounts].count("/dev/shm") == 1


def test_limits_stay(root):
    made = with_defaults(spec(resources=Resources(memory=Memory(64 << 20))), "", [], host_network=True)
    assert made.linux.resources.memory.limit == 64 << 20
    assert "network" not in kinds(made)


def test_a_plain_user_is_root_of_a_user_namespace_with_one_id(plain):
    made = with_defaults(spec(), "/sampan/x", [], host_network=False)
    assert "user" in kinds(made)
    assert [(m.container_id, m.host_id, m.size) for m in made.linux.uid_mappings] == [(0, 1000, 1)]
    assert [(m.container_id, m.host_id, m.size) for m in made.linux.gid_mappings] == [(0, 100, 1)]
    assert (made.linux.cgroups_path, made.linux.resources) == ("", None)
    assert not [mount for mount in made.mounts if mount.type == "cgroup" or "gid=5" in mount.options]


def test_sysfs_of_the_hosts_network_is_bound_for_a_plain_user(plain):
    made = with_defaults(spec(), "", [], host_network=True)
    assert [(m.type, m.read_only) for m in made.mounts if m.destination == "/sys"] == [("bind", True)]


def test_the_document_has_all_that_the_specification_requires(root):
    document = with_defaults(spec(), "", [], host_network=False).to_json()
    assert document["process"]["cwd"] == "/"
    assert document["ociVersion"].startswith("1.0")
