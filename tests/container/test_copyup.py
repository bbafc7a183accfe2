"""`tmpcopyup`: the copy of an image's folder, also of one that lies or changes meanwhile."""

from __future__ import annotations

import os
import stat

import pytest

from sampan.container.copyup import copy_up
from sampan.core.errors import Invalid, NotFound


@pytest.fixture
def folders(tmp_path):
    """The source and the target as paths, and as the descriptors that `copy_up` is given."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    fds = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (source, target)]
    yield source, target, fds
    for fd in fds:
        os.close(fd)


def test_files_come_with_mode_and_times_and_links_stay_links(folders):
    source, target, fds = folders
    (source / "a/b").mkdir(parents=True)
    (source / "a/b/file").write_bytes(b"x" * 100_000)
    (source / "a/empty").write_bytes(b"")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo", 0o640)
    os.chmod(source / "a/b/file", 0o4711)
    os.chmod(source / "a", 0o2750)
    os.utime(source / "a/b", ns=(10**9, 2 * 10**9))
    copy_up(*fds)
    assert (target / "a/b/file").read_bytes() == b"x" * 100_000
    assert (target / "a/empty").read_bytes() == b""
    assert os.readlink(target / "link") == "/etc/passwd"
    assert stat.S_ISFIFO((target / "fifo").stat().st_mode)
    assert [oct((target / name).stat().st_mode & 0o7777) for name in ("a", "a/b/file")] == [
        "0o2750",
        "0o4711",
    ]


def test_the_time_of_a_folder_is_kept_though_files_were_put_in_it(folders):
    source, target, fds = folders
    (source / "a").mkdir()
    (source / "a/file").write_bytes(b"")
    os.utime(source / "a", ns=(10**9, 2 * 10**9))
    copy_up(*fds)
    assert (target / "a").stat().st_mtime_ns == 2 * 10**9


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_device_is_not_copied_and_owners_are(folders):
    source, target, fds = folders
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (source / "theirs").write_bytes(b"")
    os.chown(source / "theirs", 1234, 4321)
    copy_up(*fds)
    assert os.listdir(target) == ["theirs"]
    assert ((target / "theirs").stat().st_uid, (target / "theirs").stat().st_gid) == (1234, 4321)


def test_C13_a_folder_that_became_a_link_is_not_followed_out(folders, monkeypatch):
    source, target, fds = folders
    (source / "a").mkdir()
    (source / "a/mine").write_bytes(b"")
    (source.parent / "host").mkdir()
    (source.parent / "host/secret").write_bytes(b"secret")
    chmod = os.chmod

    def swap(name, *args, **kwargs):
        chmod(name, *args, **kwargs)
        if name == "a":  # seen as a folder, and a link when it is opened
            os.rename(source / "a", source / "b")
            os.symlink("../host", source / "a")

    monkeypatch.setattr(os, "chmod", swap)
    with pytest.raises(NotFound):  # what was a folder is none any more
        copy_up(*fds)
    assert list(target.rglob("secret")) == []


def test_folders_too_deep_for_a_path_are_refused_and_no_descriptor_is_lost(folders):
    source, _, fds = folders
    folder = os.dup(fds[0])
    for _ in range(2100):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_PATH, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Invalid, match="too long"):
        copy_up(*fds)
    assert len(os.listdir("/proc/self/fd")) == before
    for folder in (source, folders[1]):
        remove_deep(folder)


def remove_deep(folder):
    """`shutil.rmtree` cannot go that deep: the innermost folders are taken out of a shorter path first."""
    while (folder / "d").exists():
        inner = folder / "/".join(["d"] * 500)
        if not inner.exists():
            break
        os.rename(inner, folder / "e")
        for depth in range(499, 0, -1):
            os.rmdir(folder / "/".join(["d"] * depth))
        os.rename(folder / "e", folder / "d")
