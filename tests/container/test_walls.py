"""The workload's world: root filesystem, mounts, read-only, networks, limits; rows W10, W15, W16, W23, C4, C13, C22."""

import os
import pathlib
import stat

import pytest

from sampan.container import ending, reaper, starting, stdio
from sampan.core.errors import Invalid, NotFound, SampanError, Unimplemented
from sampan.core.spec.runtime import Capabilities, Memory, Mount, Pids, Process, Resources, User

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def proc_status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_what_a_workload_writes_is_its_own_and_the_image_stays(world):
    lower = world.rootfs(data=b"from the image")
    entry, record = world.run("write", "/data", "changed", lower=lower)
    assert record.code == 0, world.errors(entry)
    assert (lower / "data").read_bytes() == b"from the image"
    assert pathlib.Path(entry.folder, "upper", "data").read_bytes().strip() == b"changed"


def test_W16_a_read_only_root_refuses_writes_and_still_reads(world):
    lower = world.rootfs(data=b"from the image")
    entry, record = world.run("write", "/data", "changed", lower=lower, read_only=True)
    assert record.code != 0
    entry, record = world.run("cat", "/data", lower=lower, read_only=True)
    assert world.output(entry) == b"from the image"


@pytest.mark.parametrize("options", [["bind"], ["bind", "ro"]])
def test_W16_a_mount_is_there_and_keeps_its_read_only(world, tmp_path, options):
    source = tmp_path / "volume"
    source.mkdir()
    (source / "file").write_bytes(b"hello")
    mounts = [Mount("/deep/volume", "bind", str(source), options)]
    entry, _ = world.run("cat", "/deep/volume/file", lower=world.rootfs(), mounts=mounts)
    assert world.output(entry) == b"hello", world.errors(entry)
    _, record = world.run("write", "/deep/volume/new", "x", lower=world.rootfs(), mounts=mounts)
    assert (source / "new").exists() == ("ro" not in options) == (record.code == 0)


@ROOT
def test_a_single_file_can_be_mounted(world, tmp_path):
    source = tmp_path / "settings"
    source.write_bytes(b"a = 1")
    mounts = [Mount("/etc/app/settings", "bind", str(source), ["bind", "ro"])]
    entry, _ = world.run("cat", "/etc/app/settings", lower=world.rootfs(), mounts=mounts)
    assert world.output(entry) == b"a = 1"
    _, record = world.run("write", "/etc/app/settings", "x", lower=world.rootfs(), mounts=mounts)
    assert record.code != 0
    assert source.read_bytes() == b"a = 1"


def test_a_mount_whose_source_is_missing_is_named(world):
    entry = world.make("ls", lower=world.rootfs(), mounts=[Mount("/x", "bind", "/not/there", ["bind"])])
    with pytest.raises(NotFound, match="/not/there"):
        starting.start_here(entry, world.roots, stdio.CAPTURE)
    assert entry.exit().reason == "error"


@pytest.mark.parametrize("kind", ["proc", "sysfs", "devpts", "mqueue", "cgroup"])
def test_W15_kernel_file_systems_are_never_mounted_where_a_guest_sees_them(world, kind):
    mounts = [Mount(f"/{kind}", kind, kind)]
    entry, record = world.run("ls", f"/{kind}", lower=world.rootfs(), mounts=mounts)
    assert record.code != 0, world.output(entry)


@pytest.mark.parametrize("place", ["/proc", "/proc/x", "/sys", "/dev", "/dev/shm"])
def test_W15_nothing_is_mounted_over_them_either(world, tmp_path, place):
    mounts = [Mount(place, "bind", "/proc", ["rbind"])]
    entry, record = world.run("cat", f"{place}/self/mem", lower=world.rootfs(), mounts=mounts)
    assert record.code != 0
    assert world.output(entry) == b""


@pytest.mark.parametrize(
    "path",
    ["/proc/self/mem", "/proc/self/environ", "/proc/sys/kernel/core_pattern", "/sys/kernel", "/dev/mem", "/etc/shadow",
     "../../../etc/shadow", "/../../etc/shadow", "/link"],
)  # fmt: skip
def test_W13_W15_the_host_is_out_of_reach(world, path):
    lower = world.rootfs()
    os.symlink("/etc/shadow", lower / "link")
    entry, record = world.run("cat", path, lower=lower)
    assert record.code != 0
    assert world.output(entry) == b""


def test_C13_a_link_in_the_image_cannot_redirect_a_mount(world, tmp_path):
    outside, source = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    source.mkdir()
    lower = world.rootfs()
    os.symlink(f"../../../../../../..{outside}", lower / "link")
    mounts = [Mount("/link/inner", "bind", str(source), ["bind"])]
    entry = world.make("ls", "/", lower=lower, mounts=mounts)
    try:
        reaper.reap(entry, world.roots, starting.start_here(entry, world.roots, stdio.CAPTURE))
    except SampanError:
        pass
    assert list(outside.iterdir()) == []


def test_S3_a_relative_command_without_an_executable_bit_runs(world):
    lower = world.rootfs()
    os.chmod(lower / "toolbox.wasm", 0o444)
    entry, record = world.run(lower=lower, process=Process(["toolbox.wasm", "args"], "/"))
    assert record.code == 0
    assert world.output(entry).split() == [b"toolbox.wasm"] or world.output(entry) == b""


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("/missing.wasm", 127, NotFound),
        ("../../../../../../etc/passwd", 127, NotFound),
        ("/folder", 126, SampanError),
        ("/fifo", 126, SampanError),
        ("/script", 126, Unimplemented),
        ("/elf", 126, Unimplemented),
        ("/junk", 126, Invalid),
        ("/empty", 126, Invalid),
        ("/toolbox.wasm#nothing", 126, SampanError),
        ("", 125, Invalid),
    ],
)
def test_C3_C4_a_command_that_cannot_run_has_a_code_and_a_sentence(world, command, code, error):
    lower = world.rootfs(script=b"#!/bin/sh\n", elf=b"\x7fELF\2\1\1", junk=b"<html>", empty=b"")
    (lower / "folder").mkdir()
    os.mkfifo(lower / "fifo")
    entry = world.make(lower=lower, process=Process([command], "/"))
    with pytest.raises(error) as caught:
        starting.start_here(entry, world.roots, stdio.CAPTURE)
    assert caught.value.exit_code == code
    assert entry.exit().code == code
    assert entry.exit().message == str(caught.value)


@ROOT
def test_every_wall_stands(world):
    entry = world.start("sleep", "100")
    status = proc_status(entry.running.pid)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert all(int(status[name], 16) == 0 for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"))
    for space in ("mnt", "ipc"):
        assert os.readlink(f"/proc/{entry.running.pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}")
    assert os.listdir(f"/proc/{entry.running.pid}/root") == []
    assert f"/sampan/{entry.container.id}" in pathlib.Path(f"/proc/{entry.running.pid}/cgroup").read_text()
    assert entry.running.missing == []


@ROOT
def test_C22_inherited_descriptors_are_not_passed_on(world):
    leaked = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(64)]
    for fd in leaked:
        os.set_inheritable(fd, True)
    entry = world.make("sleep", "100")
    pid = starting.start_here(entry, world.roots, stdio.CAPTURE)
    targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    for fd in leaked:
        os.close(fd)
    assert "/etc/passwd" not in targets
    ending.kill(entry, world.roots, 9)
    assert reaper.reap(entry, world.roots, pid).code == 137


@ROOT
def test_W10_the_memory_limit_ends_the_container_as_oom(world):
    resources = Resources(memory=Memory(limit=24 << 20))
    other = world.start("sleep", "100")
    _, record = world.run("grow", "512", resources=resources)
    assert (record.code, record.reason) == (137, "oom")
    assert other.is_alive()


@ROOT
def test_limits_are_in_the_cgroup(world):
    resources = Resources(memory=Memory(limit=64 << 20), pids=Pids(32))
    entry = world.start("sleep", "100", resources=resources)
    from sampan.linux.cgroups import Cgroup

    stats = Cgroup(entry.container.id).stats()
    assert stats.memory_limit == 64 << 20
    assert stats.pids >= 1


def test_another_user_owns_the_process(world):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    process = Process(["/toolbox.wasm", "sleep", "100"], "/", user=User(1234, 5678, additional_gids=[99]))
    entry = world.start(lower=world.rootfs(), process=process)
    status = proc_status(entry.running.pid)
    assert status["Uid"].split() == ["1234"] * 4
    assert status["Gid"].split() == ["5678"] * 4
    assert status["Groups"].split() == ["99"]


@pytest.mark.parametrize(
    ("uid", "capabilities", "may_write"),
    [
        (0, Capabilities(effective=["CAP_DAC_OVERRIDE"]), True),
        (0, Capabilities(), False),
        (1234, Capabilities(effective=["CAP_DAC_OVERRIDE"], permitted=["CAP_DAC_OVERRIDE"]), False),
        (1234, Capabilities(permitted=["CAP_DAC_OVERRIDE"], ambient=["CAP_DAC_OVERRIDE"]), True),
        (1234, Capabilities(ambient=["CAP_DAC_OVERRIDE"]), False),
    ],
)
def test_capabilities_are_those_that_an_executed_program_has(world, uid, capabilities, may_write):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    lower = world.rootfs()
    (lower / "anns").mkdir(mode=0o700)
    os.chown(lower / "anns", 4321, 4321)
    args = ["/toolbox.wasm", "write", "/anns/new", "x"]
    process = Process(args, "/", user=User(uid, 0), capabilities=capabilities)
    _, record = world.run(lower=lower, process=process)
    assert record.code == (0 if may_write else 1)


def test_the_container_folder_is_private(world):
    entry = world.make("ls")
    assert stat.S_IMODE(os.stat(entry.folder).st_mode) == 0o700


def test_preopened_folders_have_their_own_names_and_nothing_else_is_seen(world, tmp_path):
    from sampan.engine.grants import Preopen

    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_bytes(b"x")
    entry, record = world.run("cat", "here/file", preopens=[Preopen(str(tmp_path / "given"), "here", True)])
    assert (record.code, world.output(entry)) == (0, b"x"), world.errors(entry)
    _, record = world.run("ls", "/", preopens=[Preopen(str(tmp_path / "given"), "here", True)])
    assert record.code != 0
    _, record = world.run("ls", "/")
    assert record.code != 0
