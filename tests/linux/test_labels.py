"""AppArmor and SELinux, on hosts with and without them: runc's answers."""

from __future__ import annotations

import os

import pytest

from sampan.core.errors import Denied, Internal, Invalid, NotFound, Unimplemented
from sampan.core.spec.runtime import Process
from sampan.linux import labels, procfs
from sampan.linux.labels import apply, check


def test_no_label_is_no_matter():
    check(Process())
    apply(Process())


@pytest.mark.skipif(labels.has_apparmor(), reason="for hosts without AppArmor")
def test_a_profile_where_there_is_no_apparmor():
    with pytest.raises(Unimplemented, match="no AppArmor"):
        check(Process(apparmor_profile="docker-default"))
    check(Process(apparmor_profile="unconfined"))
    apply(Process(apparmor_profile="unconfined"))


@pytest.mark.skipif(labels.has_selinux(), reason="for hosts without SELinux")
def test_a_label_where_selinux_is_off():
    with pytest.raises(Unimplemented, match="SELinux is off"):
        check(Process(selinux_label="system_u:system_r:container_t:s0"))


@pytest.mark.parametrize("process", [Process(apparmor_profile="a\nb"), Process(selinux_label="a\0b")])
def test_a_label_that_would_be_two_writes(process):
    with pytest.raises(Invalid, match="malformed"):
        check(process)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with both modules switched on, and what is written to /proc."""
    for name, text in (("APPARMOR", "Y\n"), ("SELINUX", "1")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(labels, name, str(tmp_path / name))
    written = []
    monkeypatch.setattr(procfs, "write", lambda *what: written.append(what))
    return written


def test_the_labels_change_in_place(host):
    process = Process(apparmor_profile="docker-default", selinux_label="u:r:t:s0")
    check(process)
    apply(process)
    folder = "self/attr/apparmor" if os.path.isdir("/proc/self/attr/apparmor") else "self/attr"
    assert host == [(f"{folder}/current", "changeprofile docker-default"), ("self/attr/current", "u:r:t:s0")]


@pytest.mark.parametrize(("number", "expected"), [(2, NotFound), (13, Denied), (1, Denied), (22, Internal)])
def test_the_kernels_refusal_is_an_error(host, monkeypatch, number, expected):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(procfs, "write", refuse)
    with pytest.raises(expected, match="AppArmor profile 'x'"):
        apply(Process(apparmor_profile="x"))


def test_apparmor_that_is_switched_off_is_none(host, tmp_path):
    (tmp_path / "APPARMOR").write_text("N\n")
    with pytest.raises(Unimplemented):
        check(Process(apparmor_profile="x"))
