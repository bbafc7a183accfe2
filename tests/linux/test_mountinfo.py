"""The kernel's table of mounts, with names that it has to escape."""

from __future__ import annotations

import os

from sampan.core.errors import Precondition
from sampan.linux import mountinfo, mounts, namespaces

TMPFS = 0x01021994


def private_world():
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()


def test_which_mount_a_descriptor_is_in(as_root, in_child, tmp_path):
    def look():
        private_world()
        os.makedirs(f"{tmp_path}/a b/c")
        mounts.mount("tmpfs", f"{tmp_path}/a b", "tmpfs")
        os.mkdir(f"{tmp_path}/a b/c")
        inner = os.open(f"{tmp_path}/a b/c", os.O_PATH)
        name = os.readlink(f"/proc/self/fd/{mountinfo.mount_of(inner)}")
        mounts.mount("tmpfs", f"{tmp_path}/a b", "tmpfs")
        try:
            mountinfo.mount_of(inner)
        except Precondition as error:
            return name, "covered" in str(error), mountinfo.filesystem_of(inner)
        return None

    assert in_child(look) == (f"{tmp_path}/a b", True, TMPFS)


def test_odd_names_are_read_as_they_are(as_root, in_child, tmp_path):
    def look():
        private_world()
        names = ["a b", "tab\there", "line\nend", "back\\slash", "é", "#"]
        folder = os.open(tmp_path, os.O_PATH)
        for name in names:
            os.mkdir(f"{tmp_path}/{name}")
            mounts.mount("tmpfs", f"{tmp_path}/{name}", "tmpfs")
        found = [(path.removeprefix("/"), fstype) for path, fstype, _ in mountinfo.below(folder)]
        points = [point for point in mountinfo.points() if point.startswith(f"{tmp_path}/")]
        return found == [(name, "tmpfs") for name in names], points == [
            f"{tmp_path}/{name}" for name in names
        ]

    assert in_child(look) == (True, True)


def test_a_folder_whose_own_name_is_odd_has_its_mounts(as_root, in_child, tmp_path):
    def look():
        private_world()
        os.makedirs(f"{tmp_path}/a b\\c/inner")
        os.mkdir(f"{tmp_path}/a b\\c/inner-beside")
        mounts.mount("tmpfs", f"{tmp_path}/a b\\c", "tmpfs")
        folder = os.open(f"{tmp_path}/a b\\c", os.O_PATH)
        os.mkdir("inner", dir_fd=folder)
        mounts.mount("tmpfs", f"{tmp_path}/a b\\c/inner", "tmpfs")
        return [path for path, _, _ in mountinfo.below(folder)]

    assert in_child(look) == ["/inner"]


def test_the_file_system_of_proc_is_told(in_child):
    def look():
        return mountinfo.filesystem_of(os.open("/proc", os.O_PATH))

    assert in_child(look) == 0x9FA0
