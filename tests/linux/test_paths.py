"""Paths that try to leave their root, by openat2 and by the walk that stands in for it."""

from __future__ import annotations

import os
import signal
import stat
import time
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import lists, sampled_from

from sampan.core.errors import Denied, Invalid, NotFound, SampanError
from sampan.linux import paths, syscalls
from sampan.linux.paths import make_dirs_in_root, make_file_in_root, open_in_root, open_regular_in_root

raw_call = syscalls.call  # some tests replace it
ROUNDS = int(os.environ.get("SAMPAN_RACE_ROUNDS", "300"))


@pytest.fixture(params=["openat2", "walk", "walk after EPERM"])
def resolver(request, monkeypatch):
    """Each way to resolve; the last as a filter around us would force it."""
    if request.param != "openat2":
        number = 38 if request.param == "walk" else 1
        call = syscalls.call

        def without_openat2(name, *args, **kwargs):
            if name == "openat2":
                raise OSError(number, os.strerror(number))
            return call(name, *args, **kwargs)

        monkeypatch.setattr(syscalls, "call", without_openat2)
    return request.param


@pytest.fixture
def root(tmp_path, resolver):
    """A root with `inside` files, and a `secret` beside it."""
    (tmp_path / "secret").write_text("secret")
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "secret").write_text("inside")
    (top / "etc/file").write_text("inside")
    (top / "abs").symlink_to("/etc/file")
    (top / "up").symlink_to("../../../../secret")
    (top / "etc/climb").symlink_to("../../secret")
    (top / "dirlink").symlink_to("/etc/../etc")
    (top / "host").symlink_to(str(tmp_path / "secret"))
    (top / "loop").symlink_to("loop")
    (top / "dangling").symlink_to("nowhere/at/all")
    os.mkfifo(top / "fifo")
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def read(fd):
    with os.fdopen(fd) as file:
        return file.read()


@pytest.mark.parametrize("path", [
    "secret", "/secret", "//secret", "./secret", "../secret", "/../../secret", "etc/../secret", "etc/../../secret",
    "up", "etc/climb", "abs", "dirlink/file", "dirlink/../secret", "etc/./file", "../../..//etc//file",
])  # fmt: skip
def test_C4_every_path_ends_inside_the_root(root, path):
    assert read(open_in_root(root, path, os.O_RDONLY)) == "inside"
    assert read(open_regular_in_root(root, path)) == "inside"


@pytest.mark.parametrize(("path", "kind", "code"), [
    ("missing", NotFound, 127), ("host", NotFound, 127), ("dangling", NotFound, 127), ("etc/file/x", NotFound, 127),
    ("", Invalid, 126), ("/", Invalid, 126), ("etc", Invalid, 126), ("etc/", Invalid, 126), ("..", Invalid, 126),
    ("fifo", Invalid, 126), ("loop", Invalid, 126), ("a\0b", Invalid, 126), ("x" * 300, Invalid, 126),
    ("y/" * 3000, Invalid, 126), ("\ud800", Invalid, 126),
])  # fmt: skip
def test_C4_what_is_no_regular_file_is_refused_at_once(root, path, kind, code):
    with pytest.raises(kind) as caught:
        open_regular_in_root(root, path)
    assert caught.value.exit_code == code


def test_C4_devices_and_unreadable_files(root, resolver, as_root, nobody, in_child):
    os.mknod("zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5), dir_fd=root)
    with pytest.raises(Invalid) as caught:
        open_regular_in_root(root, "zero")
    assert caught.value.exit_code == 126
    os.close(os.open("private", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=root))

    def unreadable():
        try:
            open_regular_in_root(root, "private")
        except Denied as error:
            return error.exit_code
        return 0

    assert in_child(unreadable, user=nobody) == 126


def test_the_links_of_proc_to_open_files_are_not_followed(resolver, tmp_path):
    (tmp_path / "secret").write_text("secret")
    secret = os.open(tmp_path / "secret", os.O_RDONLY)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    try:
        for path in (
            f"self/fd/{secret}",
            "self/exe",
            "self/root/etc/passwd",
            "self/cwd/.",
            f"/{os.getpid()}/exe",
        ):
            with pytest.raises(SampanError):
                open_regular_in_root(proc, path)
    finally:
        os.close(secret)
        os.close(proc)


def test_creating_stays_inside_also_through_links(root, tmp_path):
    os.close(open_in_root(root, "../etc/../new", os.O_CREAT | os.O_WRONLY, 0o640))
    made = os.stat(tmp_path / "root/new")
    assert stat.S_IMODE(made.st_mode) == 0o640 & ~_umask()
    os.symlink("/../created", "through", dir_fd=root)
    os.close(open_in_root(root, "through", os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "root/created").exists()
    assert not (tmp_path / "created").exists()
    with pytest.raises(SampanError):
        open_in_root(root, "dangling", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_nofollow_refuses_a_link_at_the_end_only(root):
    with pytest.raises(Invalid):
        open_in_root(root, "abs", os.O_RDONLY | os.O_NOFOLLOW)
    assert read(open_in_root(root, "dirlink/file", os.O_RDONLY | os.O_NOFOLLOW)) == "inside"
    link = open_in_root(root, "abs", os.O_PATH | os.O_NOFOLLOW)
    assert stat.S_ISLNK(os.fstat(link).st_mode)
    os.close(link)
    with pytest.raises(NotFound):
        open_in_root(root, "abs/", os.O_RDONLY)


def test_the_descriptor_is_closed_on_exec_and_none_is_left(root):
    before = len(os.listdir("/proc/self/fd"))
    fd = open_in_root(root, "dirlink/../up", os.O_RDONLY)
    assert not os.get_inheritable(fd)
    os.close(fd)
    for path in ("missing/x", "loop", "etc/file/x", "fifo"):
        with pytest.raises(SampanError):
            open_regular_in_root(root, path)
    os.close(make_dirs_in_root(root, "p/q/r"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_folders_are_made_inside_the_root(root, tmp_path):
    for path in ("a/b/c", "/a/b/c", "../../a/b/c/", "dirlink/sub", "etc/../a/../../z"):
        fd = make_dirs_in_root(root, path)
        assert stat.S_ISDIR(os.fstat(fd).st_mode)
        os.close(fd)
    assert (tmp_path / "root/a/b/c").is_dir()
    assert (tmp_path / "root/etc/sub").is_dir()
    assert (tmp_path / "root/z").is_dir()
    assert sorted(os.listdir(tmp_path)) == ["root", "secret"]


@pytest.mark.parametrize(
    "path", ["etc/file/x", "secret", "dangling/x", "loop/x", "fifo/x", "n" * 300, "a\0b"]
)
def test_C11_folders_that_cannot_be_made_are_refused(root, path):
    with pytest.raises(SampanError):
        make_dirs_in_root(root, path)


RENAME_EXCHANGE = 2


@contextmanager
def flipping(folder, good, evil):
    """Another process swaps two names, again and again: a folder, and a link that leads outside."""
    syscalls.load()
    fd = os.open(folder, os.O_PATH)
    names = os.fsencode(good), os.fsencode(evil)
    pid = os.fork()
    if pid == 0:
        for turn in count():
            raw_call("renameat2", fd, names[0], fd, names[1], RENAME_EXCHANGE)
            if turn % 7 == 0:  # odd, so that each of the two states lasts now and then
                time.sleep(0.0001)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


@pytest.mark.parametrize("evil", ["absolute", "relative", "deep"])
def test_C12_a_racer_that_flips_links_never_gets_an_outside_file_opened(tmp_path, resolver, evil):
    (tmp_path / "out/sub").mkdir(parents=True)
    (tmp_path / "out/file").write_text("secret")
    (tmp_path / "out/sub/file").write_text("secret")
    top = tmp_path / "root"
    (top / "d/sub").mkdir(parents=True)
    (top / "d/file").write_text("inside")
    (top / "d/sub/file").write_text("inside")
    leads = {"absolute": str(tmp_path / "out"), "relative": "../out", "deep": "../root/../out"}
    (top / "d-evil").symlink_to(leads[evil])
    root = os.open(top, os.O_PATH | os.O_DIRECTORY)
    opened = 0
    with flipping(top, "d", "d-evil"):
        for turn in count():
            if turn >= ROUNDS and opened:  # the good folder was met, too
                break
            path = ("d/file", "d/sub/../file", "d/sub/file")[turn % 3]
            try:
                fd = open_regular_in_root(root, path)
            except SampanError:
                continue
            opened += 1
            assert read(fd) == "inside"
        for turn in range(ROUNDS // 3):
            try:
                os.close(make_dirs_in_root(root, f"d/made{turn}/x"))
                os.close(open_in_root(root, f"d/new{turn}", os.O_CREAT | os.O_WRONLY, 0o600))
            except SampanError:
                continue
    os.close(root)
    assert sorted(os.listdir(tmp_path / "out")) == ["file", "sub"]


def test_the_walk_is_really_another_mechanism(tmp_path, monkeypatch):
    """So that the fall-back is not proven by the thing that it stands in for."""
    (tmp_path / "f").write_text("x")
    root = os.open(tmp_path, os.O_PATH)
    monkeypatch.setattr(syscalls, "call", lambda *_: pytest.fail("a system call by number"))
    os.close(paths._walk(root, "f", os.O_RDONLY | os.O_CLOEXEC, 0))
    os.close(root)


NAMES = [
    "..",
    ".",
    "",
    "etc",
    "file",
    "secret",
    "abs",
    "up",
    "climb",
    "dirlink",
    "loop",
    "dangling",
    "host",
    "no",
    "fifo",
]
FLAGS = [
    os.O_RDONLY | os.O_NONBLOCK, os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_RDONLY | os.O_DIRECTORY,
    os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW,
]  # fmt: skip


def outcome(resolve, root, path, flags):
    try:
        fd = resolve(root, path, flags | os.O_CLOEXEC, 0)
    except OSError as error:
        return error.errno
    found = os.fstat(fd)
    os.close(fd)
    return found.st_dev, found.st_ino


@pytest.mark.parametrize("resolver", ["openat2"], indirect=True)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=lists(sampled_from(NAMES), max_size=7), flags=sampled_from(FLAGS))
def test_C4_the_walk_and_openat2_agree_on_every_path(root, names, flags):
    path = "/".join(names)
    assert outcome(paths._walk, root, path, flags) == outcome(paths._openat2, root, path, flags)


@pytest.mark.parametrize(
    "path", ["new/deep/file", "/file", "dirlink/new", "../../over/file", "etc/file", "abs"]
)
def test_C11_a_file_is_made_in_the_root_or_found_there(root, path):
    made, found = make_file_in_root(root, path), open_in_root(root, path, os.O_PATH)
    try:
        assert stat.S_ISREG(os.fstat(made).st_mode)
        assert os.path.samestat(os.fstat(made), os.fstat(found))
    finally:
        os.close(made)
        os.close(found)


@pytest.mark.parametrize(("path", "kind"), [
    ("dangling", Invalid), ("up/x", NotFound), ("loop", Invalid), ("a\0b", Invalid), ("missing/..", Invalid),
    ("missing/", Invalid), ("x" * 300, Invalid),
])  # fmt: skip
def test_C11_no_file_is_made_where_it_cannot_be(root, path, kind, tmp_path):
    with pytest.raises(kind):
        make_file_in_root(root, path)
    assert sorted(os.listdir(tmp_path)) == ["root", "secret"]


def test_a_link_that_leads_nowhere_is_no_place_for_a_file(root, tmp_path):
    (tmp_path / "root/near").symlink_to("missing")
    with pytest.raises(Invalid, match="leads nowhere"):
        make_file_in_root(root, "near")
    assert not (tmp_path / "root/missing").exists()
