"""Covers: empty, read-only, and of our own; row C13."""

from __future__ import annotations

import os
import stat

import pytest

from sampan.container import covers
from sampan.core.errors import Invalid
from sampan.linux import mounts, namespaces
from tests.linux.conftest import run_in_child

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize(("path", "expected"), [
    ("/proc", True), ("/proc/self/status", True), ("/sys", True), ("/etc", False), ("/tmp", False),
])  # fmt: skip
def test_what_is_the_kernels_own(path, expected):
    fd = os.open(path, os.O_PATH)
    assert covers.is_kernels(fd) == expected
    os.close(fd)


def test_C13_covers_are_fresh_and_leave_nothing_on_the_root(tmp_path):
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "file").write_text("secret")
    os.mkfifo(tmp_path / "fifo")

    def body():
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        root = os.open(tmp_path, os.O_PATH)
        names = ("folder", "file", "fifo")
        before = len(os.listdir("/proc/self/fd"))
        targets = [covers.existing(root, name) for name in names]
        covers.cover(root, targets)
        left = len(os.listdir("/proc/self/fd")) - before - len(targets)
        found = [os.stat(f"{tmp_path}/{name}") for name in names]
        kinds = [stat.S_IFMT(f.st_mode) for f in found]
        flags = {os.statvfs(f"{tmp_path}/{name}").f_flag & mounts.RDONLY for name in names}
        sizes = os.listdir(f"{tmp_path}/folder"), found[1].st_size, found[2].st_size
        return kinds, flags == {mounts.RDONLY}, sizes, left, sorted(os.listdir(tmp_path))

    kinds = [stat.S_IFDIR, stat.S_IFREG, stat.S_IFREG]
    assert run_in_child(body) == (kinds, True, ([], 0, 0), 0, ["fifo", "file", "folder"])


def test_what_exists_is_told_from_what_does_not_and_from_the_root(tmp_path):
    root = os.open(tmp_path, os.O_PATH)
    assert covers.existing(root, "missing") == -1
    for path in ("/", "..", "."):
        with pytest.raises(Invalid, match="root filesystem itself"):
            covers.existing(root, path)
    os.close(root)
