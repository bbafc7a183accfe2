"""A write to /proc reaches procfs or nothing."""

from __future__ import annotations

import os

import pytest

from sampan.core.errors import Denied
from sampan.linux import mounts, namespaces, procfs


def test_it_writes(in_child):
    def write():
        procfs.write("self/comm", "renamed")
        with open("/proc/self/comm") as file:
            return file.read()

    assert in_child(write) == "renamed\n"


def covered(source, target, path="self/comm"):
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()
    mounts.bind(source, target, recursive=False)
    try:
        procfs.write(path, "renamed")
    except Denied as error:
        return error.message
    return "written"


def test_C13_a_file_over_a_file_of_proc_is_not_written(as_root, in_child, tmp_path):
    (tmp_path / "comm").write_text("")
    said = in_child(lambda: covered(str(tmp_path / "comm"), f"/proc/{os.getpid()}/comm"))
    assert "covered by another mount" in said
    assert (tmp_path / "comm").read_text() == ""


def test_C13_another_file_of_proc_over_it_is_not_written_either(as_root, in_child):
    assert "covered" in in_child(lambda: covered("/proc/sys/kernel/msgmax", f"/proc/{os.getpid()}/comm"))


def test_C13_a_folder_in_the_place_of_proc(as_root, in_child, tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/comm").write_text("")
    assert "not on a proc file system" in in_child(lambda: covered(str(tmp_path), "/proc"))
    assert (tmp_path / "self/comm").read_text() == ""


def test_no_link_is_followed_at_the_end():
    with pytest.raises(OSError, match=r"symbolic link|Too many"):
        procfs.write("self/exe", "x")
