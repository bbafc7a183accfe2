"""How a run ends, exactly: rows W7 to W12, W21, and the container process's own signals."""

import os
import signal
import subprocess

import pytest

from sampan.container import control, ending, starting, stdio
from sampan.container.records import Container, Running
from sampan.container.store import Containers
from sampan.core import strictjson
from sampan.engine.grants import Limits
from sampan.linux import mounts
from sampan.linux.processes import boot_id, start_time


def write_running(entry, running):
    fd = entry.open_running()
    os.write(fd, strictjson.dumps(running))
    os.close(fd)


@pytest.mark.parametrize("code", [0, 1, 2, 42, 125, 126, 127, 128, 134, 137, 143, 200, 254, 255])
def test_W12_the_exit_code_is_exact(world, code):
    _, record = world.run("exit", str(code))
    assert (record.code, record.reason) == (code, "exited")


@pytest.mark.parametrize(("given", "code"), [("256", 0), ("-1", 255)])
def test_W12_codes_beyond_a_byte_are_cut_as_the_kernel_does(world, given, code):
    _, record = world.run("exit", given)
    assert record.code == code


def test_W11_a_trap_is_134_with_its_text_and_backtrace(world):
    entry, record = world.run("trap")
    assert (record.code, record.reason) == (134, "trap")
    assert "unreachable" in record.message
    text = world.errors(entry).decode()
    assert "unreachable" in text
    assert "wasm backtrace" in text


def test_W9_runaway_recursion_is_a_trap(world):
    entry, record = world.run("recurse")
    assert (record.code, record.reason) == (134, "trap")
    assert b"call stack exhausted" in world.errors(entry)


@pytest.mark.parametrize("doing", [["loop"], ["sleep", "100"], ["stdin"]])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, 137)]
)
def test_W8_W21_a_signal_ends_a_workload_whatever_it_does(world, doing, number, code):
    entry = world.start(*doing, keep_stdin=True)
    ending.kill(entry, world.roots, number)
    record = ending.wait(entry, timeout=30)
    assert record is not None
    assert record.code == code
    assert not entry.is_alive()


def test_F17_stop_kills_what_does_not_listen(world):
    entry = world.start("loop")
    os.kill(entry.running.pid, signal.SIGSTOP)
    record = ending.stop(entry, world.roots, signal.SIGTERM, 0.2)
    assert (record.code, record.reason) == (137, "killed")


def test_W18_a_reader_that_stalls_does_not_stop_a_stop(world):
    entry = world.start("flood", "1000000000")
    connection = control.request(entry.folder, {"do": "attach"})
    control.receive(connection)  # attached, and never reads again
    record = ending.stop(entry, world.roots, signal.SIGTERM, 60)
    connection.close()
    assert (record.code, record.reason) == (143, "signal")


def test_W7_a_deadline_ends_a_loop(world):
    _, record = world.run("loop", limits=Limits(deadline=0.3))
    assert (record.code, record.reason) == (137, "deadline")


def test_fuel_ends_a_loop(world):
    _, record = world.run("loop", limits=Limits(fuel=1_000_000))
    assert (record.code, record.reason) == (137, "fuel")


def test_F3_a_killed_process_is_reported_as_killed(world):
    entry = world.start("sleep", "100")
    os.kill(entry.running.pid, signal.SIGKILL)
    record = ending.wait(entry, timeout=20)
    assert (record.code, record.reason) == (137, "killed")


def test_F14_a_crash_of_the_engine_ends_only_its_container(world):
    entry, other = world.start("sleep", "100"), world.start("sleep", "100")
    os.kill(entry.running.pid, signal.SIGABRT)
    record = ending.wait(entry, timeout=20)
    assert (record.code, record.reason) == (134, "signal")
    assert other.is_alive()


def test_C23_a_truncated_record_of_a_dead_process_is_an_unknown_end_not_a_guess(world):
    entry = world.start("sleep", "100")
    run = entry.running
    ending.kill(entry, world.roots, signal.SIGKILL)
    ending.wait(entry)
    with open(f"{entry.folder}/exit.json", "w") as file:
        file.write('{"code": 0, "rea')
    assert entry.exit().code == 137
    assert entry.exit().reason in ("killed", "lost")
    assert entry.running == run


def test_F24_another_boot_makes_a_running_container_lost(world):
    entry = world.make("exit", "0")

    write_running(entry, Running(os.getpid(), start_time(os.getpid()), "another-boot", 1))
    assert not entry.is_alive()
    assert (entry.exit().code, entry.exit().reason) == (137, "lost")


def test_C23_a_reused_pid_is_not_the_container(world):

    entry = world.make("exit", "0")
    write_running(entry, Running(os.getpid(), start_time(os.getpid()) - 1, boot_id(), 1))
    assert not entry.is_alive()


def test_containers_are_found_again_by_another_process(world):

    entry = world.start("sleep", "100", name="boat")
    again = Containers(world.roots).find("boat")
    assert isinstance(again.container, Container)
    assert again.is_alive()
    assert again.container.id == entry.container.id


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_X1_a_disk_that_is_full_at_the_end_costs_no_record(world):
    containers = f"{world.roots.data}/containers"
    os.mkdir(containers, 0o700)
    mounts.mount("tmpfs", containers, "tmpfs", 0, "size=4m")
    entry = world.make("exit", "7")
    try:
        starting.start(entry, world.roots, stdio.ATTACHED)
        with open(f"{containers}/fill", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while file.write(bytes(1 << 12)):
                pass
        control.request(entry.folder, {"do": "attach"}).close()
        record = ending.wait(entry, 20)
        assert (record.code, record.reason) == (7, "exited")
        os.unlink(f"{containers}/fill")
    finally:
        ending.discard(entry, world.roots)
        subprocess.run(["umount", "-l", containers], check=True)
