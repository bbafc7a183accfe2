"""The zygote: background starts, restart policies, its own death; rows F1, F2, F3, F24, C8, C9."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sampan.container import ending, starting
from sampan.container.records import Restart
from sampan.core.errors import Exists, NotFound, Precondition

from ..waiting import until
from .conftest import zygote_pid


def test_one_zygote_serves_all_and_is_their_parent(world):
    entries = [world.start("sleep", "100") for _ in range(3)]
    zygote = zygote_pid(world.roots)
    for entry in entries:
        stat = pathlib.Path(f"/proc/{entry.running.pid}/stat").read_text()
        assert int(stat.rpartition(")")[2].split()[1]) == zygote


def test_who_needs_the_first_zygote_at_once_waits_until_it_serves(world, monkeypatch):
    slow = "from sampan.container import zygote\nzygote.warm_up = lambda: __import__('time').sleep(1)\n"
    script = starting._ZYGOTE.replace("from sampan", f"{slow}from sampan")
    monkeypatch.setattr(starting, "_ZYGOTE", script)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: starting.wake_zygote(world.roots), range(8)))
    zygote = zygote_pid(world.roots)
    starting.wake_zygote(world.roots)
    assert zygote_pid(world.roots) == zygote


def test_a_process_with_threads_starts_the_zygote_without_a_fork_of_its_own(world):
    script = (
        "import os, sys\n"
        "from sampan.container import starting\n"
        "from sampan.core.roots import Roots\n"
        "os.register_at_fork(before=lambda: os._exit(9))\n"
        "starting.wake_zygote(Roots(*sys.argv[1:]))\n"
    )
    read, write = os.pipe()
    os.set_inheritable(write, True)  # what its starter would leave open in it
    command = [sys.executable, "-c", script, world.roots.data, world.roots.run]
    assert subprocess.run(command, close_fds=False).returncode == 0
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)
    zygote = zygote_pid(world.roots)
    assert os.getsid(zygote) == zygote


def test_a_zygote_that_cannot_be_started_is_an_error(world, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotFound, match="start the zygote"):
        starting.wake_zygote(world.roots)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_sockets_are_for_their_owner_only(world):
    entry = world.start("sleep", "100")
    for path in (f"{world.roots.run}/zygote", f"{entry.folder}/control"):
        assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("policy", "args", "restarted"),
    [
        (Restart("no"), ["exit", "1"], False),
        (Restart("on-failure"), ["exit", "0"], False),
        (Restart("on-failure", 2), ["exit", "3"], True),
        (Restart("always"), ["exit", "0"], True),
        (Restart("unless-stopped"), ["trap"], True),
    ],
)
def test_restart_policies(world, policy, args, restarted):
    entry = world.start(*args, restart=policy)
    if restarted:
        until(lambda: entry.restarts.count >= 2)
    else:
        ending.wait(entry)
        time.sleep(0.5)
        assert entry.restarts.count == 0
    ending.stop(entry, world.roots, signal.SIGTERM, 5)


def test_on_failure_gives_up_after_its_number(world):
    entry = world.start("exit", "3", restart=Restart("on-failure", 2))
    until(lambda: entry.restarts.count == 2 and not entry.is_alive())
    time.sleep(0.6)
    assert entry.restarts.count == 2
    assert entry.exit().code == 3


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_what_a_person_stops_stays_stopped(world, policy):
    entry = world.start("sleep", "100", restart=Restart(policy))
    ending.stop(entry, world.roots, signal.SIGTERM, 5)
    time.sleep(0.5)
    assert not entry.is_alive()
    assert entry.exit().code == 143


def test_auto_remove_leaves_nothing(world):
    entry = world.start("exit", "0", auto_remove=True)
    until(lambda: not os.path.exists(entry.folder))
    with pytest.raises(NotFound):
        world.containers.find(entry.container.id)


def test_F1_containers_outlive_their_zygote_and_record_their_own_end(world):
    entries = [world.start("sleep", "100") for _ in range(3)]
    os.kill(zygote_pid(world.roots), signal.SIGKILL)
    assert all(entry.is_alive() for entry in entries)
    ending.kill(entries[0], world.roots, signal.SIGTERM)
    assert ending.wait(entries[0], timeout=20).code == 143
    os.kill(entries[1].running.pid, signal.SIGKILL)
    record = ending.wait(entries[1], timeout=20)
    assert (record.code, record.reason) == (137, "killed")
    assert entries[2].is_alive()


def test_F1_a_new_zygote_takes_up_what_the_old_one_left(world):
    kept = world.start("sleep", "100", restart=Restart("always"))
    gone = world.start("sleep", "100", auto_remove=True)
    os.kill(zygote_pid(world.roots), signal.SIGKILL)
    for entry in (kept, gone):
        os.kill(entry.running.pid, signal.SIGKILL)
    until(lambda: not kept.is_alive() and not gone.is_alive())
    world.start("exit", "0")
    until(kept.is_alive)
    until(lambda: not os.path.exists(gone.folder))


def test_C9_the_table_of_states(world):
    entry = world.make("sleep", "100")
    assert entry.status() == "created"
    with pytest.raises(Precondition):
        ending.kill(entry, world.roots, 15)
    with pytest.raises(Precondition):
        ending.wait(entry)
    assert ending.stop(entry, world.roots, 15, 1) is None
    starting.start(entry, world.roots)
    assert entry.status() == "running"
    with pytest.raises(Precondition):
        starting.start(entry, world.roots)
    with pytest.raises(Precondition):
        ending.remove(entry, world.roots)
    ending.stop(entry, world.roots, 15, 5)
    assert entry.status() == "exited"
    starting.start(entry, world.roots)
    assert entry.status() == "running"
    ending.remove(entry, world.roots, force=True)
    assert not os.path.exists(entry.folder)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a\0b", "a\nb", "x" * 1025, "é", "a b"])
def test_C7_names_that_could_be_paths_are_refused(world, name):
    from sampan.container.records import check_name
    from sampan.core.errors import Invalid

    with pytest.raises(Invalid):
        check_name(name)


def test_C8_of_many_creations_of_one_name_exactly_one_wins(world):
    read, write = os.pipe()
    children = []
    for _ in range(16):
        pid = os.fork()
        if pid == 0:
            try:
                world.make("ls", name="same")
                os.write(write, b"1")
            except Exists:
                os.write(write, b"0")
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(write)
    said = os.read(read, 100)
    os.close(read)
    assert sorted(said) == sorted(b"0" * 15 + b"1")
    assert [e.container.name for e in world.containers.all()] == ["same"]


def test_C23_a_broken_container_is_listed_as_broken_and_hides_no_other(world):
    broken, fine = world.make("ls"), world.make("ls")
    with open(f"{broken.folder}/container.json", "w") as file:
        file.write("{")
    assert [e.container.id for e in world.containers.all()] == [fine.container.id]
    assert [name for name, _ in world.containers.broken()] == [broken.container.id]
    world.containers.remove(broken.container.id)


def test_F10_killed_creations_and_removals_are_swept(world):
    world.make("ls")
    for name in (".new-abc", ".gone-def-1"):
        os.makedirs(f"{world.roots.containers}/{name}/upper")
    assert world.containers.sweep() == 2
    assert len(world.containers.all()) == 1


def of_another_vintage(world):
    """As if what is installed were not what the zygote was started with."""
    path = pathlib.Path(f"{world.roots.run}/desk/zygote")
    path.write_text(" ".join([*path.read_text().split()[:2], "1"]))


def test_a_new_installation_gets_a_new_zygote_and_the_old_one_reaps_its_own(world):
    kept, ending_later = world.start("sleep", "100"), world.start("sleep", "100")
    old = zygote_pid(world.roots)
    of_another_vintage(world)
    new_one = world.start("sleep", "100")
    zygotes = {parent_of(entry.running.pid) for entry in (kept, ending_later, new_one)}
    assert old in zygotes and len(zygotes) == 2
    ending.kill(ending_later, world.roots, signal.SIGTERM)
    until(lambda: ending_later.exit() is not None and not ending_later.is_alive())
    assert ending_later.exit().code == 143
    assert kept.is_alive()
    ending.kill(kept, world.roots, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{old}"))
    assert kept.exit().code == 137 and new_one.is_alive()


def test_a_retired_zygote_leaves_restarts_to_the_new_one(world):
    again = world.start("sleep", "100", restart=Restart("always"))
    first, old = again.running.pid, zygote_pid(world.roots)
    of_another_vintage(world)
    other = world.start("sleep", "100")
    os.kill(first, signal.SIGKILL)
    until(lambda: again.is_alive() and again.running.pid != first)
    assert parent_of(again.running.pid) == parent_of(other.running.pid) != old
    until(lambda: not os.path.exists(f"/proc/{old}"))


def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
