"""Maps of a user namespace, written by the parent of the process that made it."""

from __future__ import annotations

import os
import shutil

import pytest

from sampan.core.errors import Denied, Invalid, SampanError, Unimplemented
from sampan.core.spec.runtime import IdMapping
from sampan.linux import idmaps, mounts, namespaces, syscalls
from sampan.linux.idmaps import write_maps

HELPERS = shutil.which("newuidmap") and shutil.which("newgidmap")


def mapped(uid, gid):
    """Writes the maps of a child in a new user namespace; what the kernel then says of them, or the error."""
    ready, go = os.pipe(), os.pipe()
    syscalls.load()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go[1])
            namespaces.unshare(namespaces.NEWUSER)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        assert os.read(ready[0], 1) == b"x"
        write_maps(pid, uid, gid)
        return [read(f"/proc/{pid}/{name}") for name in ("uid_map", "gid_map", "setgroups")]
    except SampanError as error:
        return [error.kind, str(error), ""]
    finally:
        os.close(ready[0])
        for fd in go:
            os.close(fd)
        os.waitpid(pid, 0)


def read(path):
    with open(path) as file:
        return [line.split() for line in file] if path.endswith("map") else file.read().strip()


def ids(*lines):
    return [IdMapping(*line) for line in lines]


def test_root_maps_ranges_and_leaves_setgroups_allowed(as_root, in_child):
    uid, gid = ids((0, 100000, 1000), (1000, 0, 1)), ids((0, 200000, 65536))
    got = in_child(lambda: mapped(uid, gid))
    assert got == [[["0", "100000", "1000"], ["1000", "0", "1"]], [["0", "200000", "65536"]], "allow"]


def test_a_plain_user_maps_its_own_id_alone(nobody, in_child):
    one = ids((0, nobody, 1))
    got = in_child(lambda: mapped(one, one), user=nobody)
    assert got == [[["0", str(nobody), "1"]], [["0", str(nobody), "1"]], "deny"]


def test_340_lines_are_taken(as_root, in_child):
    lines = ids(*((2 * n, 1000 + 2 * n, 1) for n in range(340)))
    assert len(in_child(lambda: mapped(lines, lines))[0]) == 340


@pytest.mark.skipif(not HELPERS, reason="needs newuidmap")
def test_a_plain_user_maps_ranges_of_subuid_by_the_helper(nobody, as_root, in_child, tmp_path):
    """/etc/subuid and /etc/subgid are ours in a mount namespace of the test's own."""
    (tmp_path / "sub").write_text("nobody:300000:65536\n")
    uid = gid = ids((0, nobody, 1), (1, 300000, 1000))

    def attempt():
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        etc = prepare_etc(tmp_path)
        mounts.bind(etc, "/etc", recursive=False)
        os.setgroups([])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)
        syscalls.call("prctl", 4, 1)
        outside = ids((0, nobody, 1), (1, 400000, 1000))
        return mapped(uid, gid), mapped(outside, gid)

    inside, outside = in_child(attempt)
    assert inside[:2] == [[["0", str(nobody), "1"], ["1", "300000", "1000"]]] * 2
    assert outside[0] == "DENIED"
    assert "newuidmap" in outside[1]
    assert "/etc/subuid" in outside[1]


def prepare_etc(tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("passwd", "group", "nsswitch.conf"):
        if os.path.exists(f"/etc/{name}"):
            shutil.copy(f"/etc/{name}", etc)
    for name in ("subuid", "subgid"):
        shutil.copy(tmp_path / "sub", etc / name)
    etc.chmod(0o755)
    return str(etc)


def test_a_host_without_the_helper_is_told_what_to_install(nobody, in_child, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    kind, said, _ = in_child(lambda: mapped(ids((0, 100000, 1000)), ids((0, 100000, 1000))), user=nobody)
    assert kind == Unimplemented.kind
    assert "newuidmap" in said
    assert "uidmap" in said.partition("install")[2]


def test_what_the_helper_says_is_said(nobody, in_child, monkeypatch, open_folder):
    helper = open_folder / "newuidmap"
    helper.write_text('#!/bin/sh\necho "asked for $*" >&2\nexit 1\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(open_folder))
    kind, said, _ = in_child(lambda: mapped(ids((0, 7, 1), (1, 9, 2)), ids((0, 7, 1))), user=nobody)
    assert kind == Denied.kind
    assert "0 7 1 1 9 2" in said
    assert "/etc/subuid" in said


@pytest.mark.parametrize("wrong", [
    [], [(0, 0, 0)], [(0, 0, -1)], [(-1, 0, 1)], [(0, 2**32 - 1, 1)], [(0, 5, 2**32 - 5)], [(0, 0, 10), (5, 100, 10)],
    [(0, 0, 10), (100, 9, 1)], [(2 * n, 2 * n, 1) for n in range(341)],
], ids=str)  # fmt: skip
def test_C18_C19_a_malformed_map_is_refused_before_anything_is_written(wrong, monkeypatch):
    monkeypatch.setattr(idmaps, "_write", lambda *_: pytest.fail("written"))
    right = ids((0, 0, 1))
    with pytest.raises(Invalid, match=r"linux\.uidMappings"):
        write_maps(1, ids(*wrong), right)
    with pytest.raises(Invalid, match=r"linux\.gidMappings"):
        write_maps(1, right, ids(*wrong))


def test_a_process_that_is_gone(as_root):
    with pytest.raises(SampanError, match="map the container's uids"):
        write_maps(2**22 + 1, ids((0, 0, 1)), ids((0, 0, 1)))
