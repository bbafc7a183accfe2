"""Files that appear whole or not at all, and trees that go away without following anything."""

from __future__ import annotations

import os
import stat

import pytest

from sampan.core.errors import DataLoss, Denied, Exhausted, Exists, Invalid, NotFound, Precondition
from sampan.linux import durable
from sampan.linux.durable import (
    make_dir,
    move,
    remove_file,
    remove_tree,
    replace_file,
    sync_filesystem,
    write_file,
)


def text(path):
    with open(path) as file:
        return file.read()


def failing(number):
    """A stand-in for one of `os`'s functions that fails."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_is_replaced_whole_with_the_given_mode(tmp_path):
    path = f"{tmp_path}/state.json"
    write_file(path, b"old")
    write_file(path, b"new" * 100_000, mode=0o644)
    assert text(path).encode() == b"new" * 100_000
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert os.listdir(tmp_path) == ["state.json"]


def test_the_umask_does_not_change_the_mode(tmp_path):
    before = os.umask(0o077)
    try:
        write_file(f"{tmp_path}/a", b"", mode=0o664)
        make_dir(f"{tmp_path}/d/e", 0o711)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(f"{tmp_path}/a").st_mode) == 0o664
    assert stat.S_IMODE(os.stat(f"{tmp_path}/d").st_mode) == 0o711
    assert stat.S_IMODE(os.stat(f"{tmp_path}/d/e").st_mode) == 0o711


def test_a_link_under_the_name_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / "name").symlink_to("victim")
    write_file(f"{tmp_path}/name", b"mine")
    assert (tmp_path / "victim").read_bytes() == b"untouched"
    assert not (tmp_path / "name").is_symlink()


def test_pieces_are_seen_only_when_the_block_ends(tmp_path):
    path = f"{tmp_path}/f"
    with replace_file(path) as file:
        file.write(b"one ")
        file.write(b"two")
        assert not os.path.exists(path)
    assert text(path) == "one two"


def test_a_block_that_raises_leaves_the_old_file_and_no_litter(tmp_path):
    path = f"{tmp_path}/f"
    write_file(path, b"old")
    with pytest.raises(KeyError), replace_file(path) as file:
        file.write(b"half of the n")
        raise KeyError
    assert text(path) == "old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize(("call", "number", "kind"), [
    ("write", 28, Exhausted), ("write", 122, Exhausted), ("fsync", 28, Exhausted), ("open", 24, Exhausted),
    ("rename", 30, Denied), ("fchmod", 30, Denied),
])  # fmt: skip
def test_X1_X2_a_failed_write_keeps_the_old_file_and_leaves_no_litter(
    tmp_path, monkeypatch, call, number, kind
):
    path = f"{tmp_path}/f"
    write_file(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(number))
        with pytest.raises(kind):
            write_file(path, b"new")
    assert text(path) == "old"
    assert os.listdir(tmp_path) == ["f"]
    write_file(path, b"newer")  # works again once the fault is gone


def test_X2_EIO_on_fsync_is_data_loss_and_is_not_tried_again(tmp_path, monkeypatch):
    calls = []

    def fsync(fd):
        calls.append(fd)
        raise OSError(5, "Input/output error")

    write_file(f"{tmp_path}/f", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(DataLoss):
            write_file(f"{tmp_path}/f", b"new")
    assert len(calls) == 1
    assert os.listdir(tmp_path) == ["f"]
    assert text(f"{tmp_path}/f") == "old"


def test_X1_a_really_full_file_system_keeps_the_old_file(as_root, tmp_path, in_child):
    from sampan.linux import mounts, namespaces

    def fill():
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        mounts.mount("tmpfs", str(tmp_path), "tmpfs", options="size=64k")
        write_file(f"{tmp_path}/f", b"old")
        try:
            write_file(f"{tmp_path}/f", b"x" * 200_000)
        except Exhausted:
            return text(f"{tmp_path}/f"), os.listdir(tmp_path)
        return None

    assert in_child(fill) == ("old", ["f"])


def test_the_file_is_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    order = []
    fsync, rename = os.fsync, os.rename

    def seen_fsync(fd):
        order.append("sync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync file")
        fsync(fd)

    def seen_rename(*args, **kwargs):
        order.append("rename")
        rename(*args, **kwargs)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "rename", seen_rename)
    write_file(f"{tmp_path}/f", b"x")
    assert order == ["sync file", "rename", "sync folder"]


def test_names_that_are_no_file_names_and_folders_that_are_not_there(tmp_path):
    with pytest.raises(Invalid):
        write_file(f"{tmp_path}/a\0b", b"")
    with pytest.raises(NotFound):
        write_file(f"{tmp_path}/missing/a", b"")
    os.mkdir(f"{tmp_path}/d")
    with pytest.raises(Invalid):
        write_file(f"{tmp_path}/d", b"")
    assert os.listdir(tmp_path) == ["d"]


def test_make_dir_makes_parents_and_keeps_what_is_there(tmp_path):
    make_dir(f"{tmp_path}/a/b/c/")
    os.chmod(f"{tmp_path}/a", 0o750)
    make_dir(f"{tmp_path}/a/b/c")
    assert stat.S_IMODE(os.stat(f"{tmp_path}/a").st_mode) == 0o750
    with pytest.raises(Exists):
        make_dir(f"{tmp_path}/a/b", exist_ok=False)
    write_file(f"{tmp_path}/file", b"")
    with pytest.raises(Exists):
        make_dir(f"{tmp_path}/file")
    with pytest.raises(Invalid):
        make_dir(f"{tmp_path}/file/below")


def test_move_replaces_files_and_refuses_full_folders(tmp_path):
    make_dir(f"{tmp_path}/new/x")
    make_dir(f"{tmp_path}/old/y")
    with pytest.raises(Exists):
        move(f"{tmp_path}/new", f"{tmp_path}/old")
    os.rmdir(f"{tmp_path}/old/y")
    move(f"{tmp_path}/new", f"{tmp_path}/old")
    assert os.listdir(f"{tmp_path}/old") == ["x"]
    with pytest.raises(NotFound):
        move(f"{tmp_path}/new", f"{tmp_path}/other")


def test_remove_file_says_whether_it_was_there(tmp_path):
    write_file(f"{tmp_path}/f", b"")
    assert remove_file(f"{tmp_path}/f")
    assert not remove_file(f"{tmp_path}/f")
    with pytest.raises(Invalid):
        remove_file(str(tmp_path))


def test_sync_filesystem_works_on_a_real_one(tmp_path):
    sync_filesystem(str(tmp_path))
    with pytest.raises(NotFound):
        sync_filesystem(f"{tmp_path}/missing")


def test_remove_tree_never_follows_links(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("me")
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/link").symlink_to(outside)
    (tree / "up").symlink_to("..")
    os.mkfifo(tree / "a/fifo")
    remove_tree(str(tree))
    assert os.listdir(tmp_path) == ["outside"]
    assert (outside / "keep").read_text() == "me"


def test_remove_tree_of_a_link_a_file_and_nothing(tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("dir")
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "missing", "missing/below"):
        remove_tree(f"{tmp_path}/{name}")
    assert os.listdir(tmp_path) == ["dir"]
    for name in ("/", "..", "dir/.."):
        with pytest.raises(Invalid):
            remove_tree(name)


def make_deep(path, depth):
    os.mkdir(path)
    fd = os.open(path, os.O_PATH)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_remove_tree_takes_a_tree_deeper_than_any_path_or_stack(tmp_path):
    make_deep(f"{tmp_path}/deep", 3000)
    remove_tree(f"{tmp_path}/deep")
    assert os.listdir(tmp_path) == []


def test_remove_tree_opens_folders_without_permission_bits(nobody, in_child, open_folder):
    tmp_path = open_folder

    def build_and_remove():
        top = f"{tmp_path}/t"
        os.makedirs(f"{top}/a/b/c")
        open(f"{top}/a/b/c/f", "w").close()
        for path in (f"{top}/a/b/c", f"{top}/a/b", f"{top}/a", top):
            os.chmod(path, 0)
        remove_tree(top)
        return os.listdir(tmp_path)

    assert in_child(build_and_remove, user=nobody) == []


def test_remove_tree_refuses_mounts_and_puts_the_name_back(as_root, in_child, tmp_path):
    from sampan.linux import mounts, namespaces

    def attempt():
        source, tree = f"{tmp_path}/source", f"{tmp_path}/tree"
        os.makedirs(f"{tree}/a/mounted")
        os.mkdir(source)
        open(f"{source}/precious", "w").close()
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        mounts.bind(source, f"{tree}/a/mounted")
        refused = 0
        for target in (f"{tree}/a/mounted", tree):
            try:
                remove_tree(target)
            except Precondition:
                refused += 1
        return refused, os.listdir(source), os.path.isdir(tree)

    assert in_child(attempt) == (2, ["precious"], True)


def test_leftovers_carry_the_prefix_that_readers_pass_over():
    assert durable.temporary_name().startswith(durable.TEMPORARY)
    assert durable.temporary_name() != durable.temporary_name()


def test_F10_a_reader_sees_the_old_content_or_the_new_and_never_a_mix(tmp_path):
    path = f"{tmp_path}/state"
    write_file(path, b"0" * 50_000)
    writers = []
    for digit in b"12":
        pid = os.fork()
        if pid == 0:
            for _ in range(100):
                write_file(path, bytes([digit]) * 50_000)
            os._exit(0)
        writers.append(pid)
    seen = set()
    for _ in range(300):
        content = text(path)
        assert len(content) == 50_000
        seen.add(content[0])
        assert content == content[0] * 50_000
    assert [os.waitpid(pid, 0)[1] for pid in writers] == [0, 0]
    assert seen
    assert os.listdir(tmp_path) == ["state"]


def test_F10_a_killed_writer_leaves_the_old_content_and_only_litter(tmp_path):
    write_file(f"{tmp_path}/state", b"old")
    pid = os.fork()
    if pid == 0:
        with replace_file(f"{tmp_path}/state") as file:
            file.write(b"half")
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert text(f"{tmp_path}/state") == "old"
    assert all(name == "state" or name.startswith(durable.TEMPORARY) for name in os.listdir(tmp_path))
