"""Landlock refuses what is not listed, also for root."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from sampan.core.errors import NotFound, Precondition, Unimplemented
from sampan.linux import landlock, syscalls
from sampan.linux.privileges import no_new_privileges

pytestmark = pytest.mark.skipif(landlock.abi() == 0, reason="needs a kernel with Landlock")


def outcome(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


@pytest.fixture(params=["root", "user"])
def who(request, as_root, open_folder):
    for name in ("ro", "rw", "other"):
        (open_folder / name).mkdir()
        os.chmod(open_folder / name, 0o777)
        (open_folder / name / "file").write_text(name)
        os.chmod(open_folder / name / "file", 0o666)
    return None if request.param == "root" else 65534


def test_only_the_listed_paths_are_left(who, in_child, tmp_path):
    def attempts():
        ro, rw, other = (f"{tmp_path}/{name}" for name in ("ro", "rw", "other"))
        no_new_privileges()
        assert landlock.restrict([ro], [rw], deny_tcp=True) == []
        write = os.O_WRONLY | os.O_CREAT
        return {
            "read ro": outcome(lambda: os.close(os.open(f"{ro}/file", os.O_RDONLY))),
            "list ro": outcome(lambda: os.listdir(ro)),
            "write ro": outcome(lambda: os.open(f"{ro}/file", os.O_WRONLY)),
            "truncate ro": outcome(lambda: os.truncate(f"{ro}/file", 0)),
            "create ro": outcome(lambda: os.open(f"{ro}/new", write)),
            "unlink ro": outcome(lambda: os.unlink(f"{ro}/file")),
            "write rw": outcome(lambda: os.close(os.open(f"{rw}/new", write))),
            "truncate rw": outcome(lambda: os.truncate(f"{rw}/new", 0)),
            "mkdir rw": outcome(lambda: os.mkdir(f"{rw}/dir")),
            "rename rw": outcome(lambda: os.rename(f"{rw}/new", f"{rw}/dir/moved")),
            "link rw": outcome(lambda: os.symlink("x", f"{rw}/link")),
            "unlink rw": outcome(lambda: os.unlink(f"{rw}/dir/moved")),
            "fifo rw": outcome(lambda: os.mkfifo(f"{rw}/fifo")),
            "out by link": outcome(lambda: os.open(f"{rw}/../other/file", os.O_RDONLY)),
            "move in": outcome(lambda: os.rename(f"{other}/file", f"{rw}/stolen")),
            "hard link in": outcome(lambda: os.link(f"{other}/file", f"{rw}/stolen")),
            "other": outcome(lambda: os.open(f"{other}/file", os.O_RDONLY)),
            "shadow": outcome(lambda: os.open("/etc/passwd", os.O_RDONLY)),
            "proc": outcome(lambda: os.open("/proc/self/mem", os.O_RDWR)),
            "sys": outcome(lambda: os.listdir("/sys")),
            "dev": outcome(lambda: os.open("/dev/zero", os.O_RDONLY)),
            "exec": outcome(lambda: os.execv("/bin/true", ["true"])),
        }  # fmt: skip

    allowed = {
        "read ro",
        "list ro",
        "write rw",
        "truncate rw",
        "mkdir rw",
        "rename rw",
        "link rw",
        "unlink rw",
    }
    got = in_child(attempts, user=who)
    assert {name for name, result in got.items() if result == "ok"} == allowed
    assert {result for name, result in got.items() if name not in allowed} <= {"EACCES", "EXDEV"}


def test_single_files_and_descriptors_as_rules(who, in_child, tmp_path):
    def attempts():
        fd = os.open(tmp_path / "rw", os.O_PATH)
        no_new_privileges()
        landlock.restrict([f"{tmp_path}/ro/file"], [fd], deny_tcp=True)
        return [
            outcome(lambda: os.close(os.open(f"{tmp_path}/ro/file", os.O_RDONLY))),
            outcome(lambda: os.listdir(f"{tmp_path}/ro")),
            outcome(lambda: os.close(os.open(f"{tmp_path}/rw/file", os.O_RDWR))),
        ]

    assert in_child(attempts, user=who) == ["ok", "EACCES", "ok"]


def test_open_descriptors_keep_working(in_child, tmp_path):
    def attempts():
        fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
        no_new_privileges()
        landlock.restrict([], [], deny_tcp=True)
        os.write(fd, b"line\n")
        return outcome(lambda: os.open(tmp_path / "log", os.O_RDONLY))

    assert in_child(attempts) == "EACCES"
    assert (tmp_path / "log").read_text() == "line\n"


@pytest.mark.parametrize(("deny", "expected"), [(True, "EACCES"), (False, "ok")])
def test_tcp(in_child, deny, expected):
    def attempts():
        no_new_privileges()
        landlock.restrict([], [], deny_tcp=deny)
        with socket.socket() as listening, socket.socket() as client:
            bound = outcome(lambda: listening.bind(("127.0.0.1", 0)))
            connected = outcome(lambda: client.connect(("127.0.0.1", 9)))
        return bound, connected

    assert in_child(attempts) == (expected, "EACCES" if deny else "ECONNREFUSED")


@pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6")
def test_nobody_outside_can_be_signalled_and_no_abstract_socket_be_reached(as_root, in_child):
    parent = os.getpid()
    name = f"\0sampan-test-{parent}"

    def attempts():
        no_new_privileges()
        landlock.restrict([], [], deny_tcp=True)
        with socket.socket(socket.AF_UNIX) as client:
            return (
                outcome(lambda: os.kill(parent, 0)),
                outcome(lambda: client.connect(name)),
                outcome(lambda: os.kill(os.getpid(), 0)),
            )

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert in_child(attempts) == ("EPERM", "EPERM", "ok")


@pytest.mark.parametrize("version", range(1, 8))
def test_older_kernels_refuse_less_and_say_so(in_child, monkeypatch, tmp_path, version):
    """Each ABI's rule set is taken by the kernel; what it cannot refuse is named."""
    monkeypatch.setattr(landlock, "KNOWN_ABI", version)

    def attempts():
        no_new_privileges()
        return landlock.restrict([], [str(tmp_path)], deny_tcp=True), outcome(lambda: os.listdir("/etc"))

    missing = ["truncate"] * (version < 3) + ["tcp"] * (version < 4) + ["ioctl"] * (version < 5)
    assert in_child(attempts) == (missing + ["scope"] * (version < 6), "EACCES")


def test_a_kernel_without_landlock(monkeypatch):
    def call(name, *_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(syscalls, "call", call)
    assert landlock.abi() == 0
    with pytest.raises(Unimplemented):
        landlock.restrict([], [], deny_tcp=True)


def test_what_is_wrong_is_said(nobody, in_child):
    def too_early():
        try:
            landlock.restrict([], [], deny_tcp=True)
        except Precondition:
            return True
        return False

    assert in_child(too_early, user=nobody)
    with pytest.raises(NotFound):
        landlock.restrict(["/no/such/path"], [], deny_tcp=True)
