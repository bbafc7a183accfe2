"""exec and file access in a container's world."""

import os
import pathlib
import signal

import pytest

from sampan.container import ending, inside
from sampan.core.errors import NotFound, Precondition
from sampan.core.spec.runtime import Process


def execute(world, entry, *args):
    """Runs the toolbox in a running container; its output and its record."""
    read, write = os.pipe()
    saved = os.dup(1)
    os.dup2(write, 1)
    try:
        pid = inside.execute(entry, world.roots, Process(["/toolbox.wasm", *args], "/"), keep_stdin=False)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(write)
    record = inside.reap_execution(pid)
    with open(read, "rb") as pipe:
        return pipe.read(), record


def test_exec_sees_what_the_container_wrote(world):
    entry = world.start("sleep", "100", lower=world.rootfs())
    assert execute(world, entry, "write", "/note", "hello")[1].code == 0
    assert execute(world, entry, "cat", "/note")[0].strip() == b"hello"
    assert pathlib.Path(entry.folder, "upper", "note").exists()


@pytest.mark.parametrize("code", [0, 7, 255])
def test_exec_has_the_guests_exit_code(world, code):
    entry = world.start("sleep", "100", lower=world.rootfs())
    assert execute(world, entry, "exit", str(code))[1].code == code


def test_CVE_2022_27650_exec_has_the_walls_of_the_container(world):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    entry = world.start("sleep", "100", lower=world.rootfs())
    pid = inside.execute(
        entry, world.roots, Process(["/toolbox.wasm", "sleep", "100"], "/"), keep_stdin=False
    )
    keys = ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "Groups")

    def walls(of):
        lines = pathlib.Path(f"/proc/{of}/status").read_text().splitlines()
        return [line for line in lines if line.startswith(keys)]

    assert walls(pid) == walls(entry.running.pid)
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{entry.running.pid}/ns/mnt")
    cgroups = [pathlib.Path(f"/proc/{p}/cgroup").read_text() for p in (pid, entry.running.pid)]
    assert cgroups[0] == cgroups[1]
    os.kill(pid, 9)
    assert inside.reap_execution(pid).code == 137


def test_C9_exec_in_a_stopped_container_is_refused(world):
    entry, _ = world.run("exit", "0", lower=world.rootfs())
    with pytest.raises(Precondition):
        inside.execute(entry, world.roots, Process(["/toolbox.wasm"], "/"), keep_stdin=False)


def test_exec_of_a_missing_file_is_127(world):
    entry = world.start("sleep", "100", lower=world.rootfs())
    with pytest.raises(NotFound) as caught:
        inside.execute(entry, world.roots, Process(["/nothing.wasm"], "/"), keep_stdin=False)
    assert caught.value.exit_code == 127


@pytest.mark.parametrize("alive", [True, False])
def test_files_can_be_reached_running_or_not(world, alive):
    lower = world.rootfs(data=b"from the image")
    entry = world.start("sleep", "100", lower=lower) if alive else world.make("ls", lower=lower)
    read, write = os.pipe()

    def work(root):
        os.write(write, os.read(os.open("data", os.O_RDONLY, dir_fd=root), 100))
        os.write(os.open("new", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=root), b"copied in")

    inside.with_files(entry, work, writes=True)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b"from the image"
    assert pathlib.Path(entry.folder, "upper", "new").read_bytes() == b"copied in"
    if alive:
        assert execute(world, entry, "cat", "/new")[0] == b"copied in"


def test_an_error_of_the_work_comes_out(world):
    entry = world.make("ls", lower=world.rootfs())

    def work(root):
        raise NotFound("no such file: /x")

    with pytest.raises(NotFound, match="/x"):
        inside.with_files(entry, work, writes=True)


def test_exec_ends_with_its_container(world):
    entry = world.start("sleep", "100", lower=world.rootfs())
    pid = inside.execute(
        entry, world.roots, Process(["/toolbox.wasm", "sleep", "100"], "/"), keep_stdin=False
    )
    ending.kill(entry, world.roots, signal.SIGKILL)
    record = inside.reap_execution(pid)  # first: a pid namespace ends when all in it are reaped
    assert record.code == 137
    assert ending.wait(entry, 20).code == 137
