"""What is killed, and what must not be lost by it: rows S12, F1, F2, F4, F14, F17, F29 as far as a shim goes."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from sampan.container.states import StateRoot
from sampan.doors.shim import messages
from sampan.doors.shim.events import Publisher
from sampan.doors.shim.loop import Loop

from .conftest import Client, Shim, Sink, until

SWEEP = 100 if os.environ.get("SAMPAN_SWEEP") else 6
Task = tuple[Client, str, Path]


def begin(shim: Shim, *args: str) -> tuple[Client, str, Path, int]:
    bundle, name = shim.bundle(*args), shim.new_id()
    client = shim.connect(shim.start(name, bundle))
    client.create(name, bundle)
    return client, name, bundle, client.start(name)


def is_there(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def cgroups(bundle: Path) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"*/sampan/{bundle.parent.name}-{bundle.name}"))


def test_F1_a_killed_server_leaves_nothing_behind_after_delete_and_touches_no_other(
    shim: Shim, task: Task
) -> None:
    client, name, bundle, pid = begin(shim)
    os.kill(shim.server_pid(client), signal.SIGKILL)
    assert is_there(pid)
    ended = shim.delete(name, bundle)
    assert (ended.pid, ended.exit_status) == (pid, 137)
    assert not is_there(pid)
    assert cgroups(bundle) == []
    assert not StateRoot(str(Path((bundle / "address").read_text().removeprefix("unix://")).parent)).all()
    other, other_name, _ = task
    assert other.state(other_name).status == messages.RUNNING
    again = shim.delete(name, bundle)
    assert (again.pid, again.exit_status) == (0, 0)


def test_F2_the_code_of_one_that_ended_meanwhile_is_its_own(shim: Shim) -> None:
    client, name, bundle, pid = begin(shim, "/app.wasm", "tick", "2", "200")
    os.kill(shim.server_pid(client), signal.SIGKILL)
    until(lambda: not is_there(pid))
    assert shim.delete(name, bundle).exit_status == 0
    client, name, bundle, pid = begin(shim)
    os.kill(shim.server_pid(client), signal.SIGKILL)
    os.kill(pid, signal.SIGTERM)
    until(lambda: not is_there(pid))
    assert shim.delete(name, bundle).exit_status == 143


def test_F1_a_paused_task_of_a_killed_server_goes_too(shim: Shim) -> None:
    client, name, bundle, pid = begin(shim)
    client.call("Pause", messages.TaskRequest(name))
    os.kill(shim.server_pid(client), signal.SIGKILL)
    assert shim.delete(name, bundle).exit_status == 137
    assert not is_there(pid) and cgroups(bundle) == []


def test_F1_a_server_that_was_killed_is_replaced_at_the_next_start(shim: Shim) -> None:
    client, name, bundle, _ = begin(shim)
    first = shim.server_pid(client)
    os.kill(first, signal.SIGKILL)
    shim.delete(name, bundle)
    client = shim.connect(shim.start(name, bundle))
    assert shim.server_pid(client) != first
    client.create(name, bundle)
    client.start(name)
    assert client.end(name).exit_status == 137


def test_F1_F4_kills_at_any_moment_leave_nothing(shim: Shim) -> None:
    chance = random.Random(4)
    for _ in range(SWEEP):
        bundle, name = shim.bundle("/app.wasm", "exit", "3"), shim.new_id()
        client = shim.connect(shim.start(name, bundle))
        server = shim.server_pid(client)
        client.begin("Create", messages.CreateRequest(name, str(bundle)))
        client.begin("Start", messages.TaskRequest(name))
        client.begin("Wait", messages.TaskRequest(name))
        time.sleep(chance.uniform(0, 0.06))
        os.kill(server, signal.SIGKILL)
        until(lambda server=server: not is_there(server))
        assert shim.delete(name, bundle).exit_status in (0, 3, 137)
        until(lambda bundle=bundle: not cgroups(bundle))
    assert [str(path) for path in (shim.run / "shim").rglob("*")] == []


def _without_pid_namespace(document: dict[str, Any]) -> None:
    document["linux"]["namespaces"] = [n for n in document["linux"]["namespaces"] if n["type"] != "pid"]


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL])
def test_F14_a_crash_of_one_is_its_own(shim: Shim, task: Task, number: signal.Signals) -> None:
    bundle, name = (
        shim.bundle(change=_without_pid_namespace),
        shim.new_id(),
    )  # its first process takes no signals
    client = shim.connect(shim.start(name, bundle))
    pid = client.create(name, bundle)
    client.start(name)
    os.kill(pid, number)
    assert client.wait(name).exit_status == 128 + number
    client.delete(name)
    assert task[0].state(task[1]).status == messages.RUNNING


def test_F17_a_workload_that_never_looks_is_ended(shim: Shim) -> None:
    for args in (("loop",), ("sleep", "1000")):
        client, name, _, _ = begin(shim, "/app.wasm", *args)
        client.kill(name, signal.SIGTERM)
        assert client.wait(name).exit_status == 143
        client.delete(name)


def test_S12_events_wait_for_containerd_and_come_in_order(shim: Shim) -> None:
    client, name, _, _ = begin(shim)
    until(lambda: len(shim.sink.topics(name)) == 2)
    shim.sink.close()
    for number in range(20):
        client.execute(name, f"e{number}", "/app.wasm", "exit", str(number))
        client.start(name, f"e{number}")
        assert client.wait(name, f"e{number}").exit_status == number
        client.delete(name, f"e{number}")
    client.end(name)
    assert len(shim.sink.topics(name)) == 2
    shim.sink.open()
    until(lambda: "TaskDelete" in shim.sink.topics(name))
    exits = [e for e in shim.sink.events if isinstance(e, messages.TaskExit)]
    assert [e.exit_status for e in exits] == [*range(20), 137]
    each = ["TaskExecAdded", "TaskExecStarted", "TaskExit"]
    assert shim.sink.topics(name) == ["TaskCreate", "TaskStart", *each * 20, "TaskExit", "TaskDelete"]


def test_S12_F29_five_thousand_exits_cost_no_memory_and_none_is_lost(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "e")
    publisher = Publisher(_quiet_loop(), str(sink.path), "test", str(tmp_path))
    for number in range(5000):
        publisher.publish(messages.TaskExit("c", "c", number + 1, 3))
    assert not publisher.idle
    assert len(publisher._memory) == 0
    loop = _quiet_loop()
    heir = Publisher(loop, str(sink.path), "test", str(tmp_path))  # of a server that was killed now
    sink.open()
    try:
        while not heir.idle:
            loop._turn()
    finally:
        sink.close()
    assert [e.pid for e in sink.events if isinstance(e, messages.TaskExit)] == list(range(1, 5001))
    assert (tmp_path / "events").stat().st_size == 0
    for each in (publisher, heir):
        each.close()


def _quiet_loop() -> Loop:
    """One that leaves this process's signals alone."""
    import select

    loop = Loop.__new__(Loop)
    loop._poll, loop._callbacks, loop._due = select.poll(), {}, []
    loop._count, loop._soon, loop._stopped = 0, [], False
    return loop
