"""The Task API's table of states and errors: rows S5, S7, S8, S10, and each call."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sampan.core.errors import Exists, Internal, Invalid, NotFound, Precondition, Unimplemented
from sampan.doors.shim import messages
from sampan.doors.shim.messages import CREATED, PAUSED, RUNNING, STOPPED, TaskRequest
from sampan.doors.shim.pod import SANDBOX_ID

from .conftest import Client, Shim, until

Task = tuple[Client, str, Path]


def test_a_life_of_a_task_and_its_events(shim: Shim) -> None:
    bundle, name = shim.bundle("/app.wasm", "exit", "7"), shim.new_id()
    client = shim.connect(shim.start(name, bundle))
    assert messages.ConnectResponse.decode(client.call("Connect", TaskRequest(name))).task_pid == 0
    pid = client.create(name, bundle)
    assert client.state(name).status == CREATED
    waiting = client.begin("Wait", TaskRequest(name))
    assert client.start(name) == pid
    ended = messages.WaitResponse.decode(client.answer(waiting))
    assert ended.exit_status == 7
    assert ended.exited_at is not None and ended.exited_at.seconds > 1_700_000_000
    state = client.state(name)
    assert (state.status, state.exit_status, state.pid) == (STOPPED, 7, pid)
    assert client.wait(name) == ended
    gone = client.delete(name)
    assert (gone.pid, gone.exit_status, gone.exited_at) == (pid, 7, ended.exited_at)
    client.call("Shutdown", messages.ShutdownRequest(name))
    until(lambda: shim.sink.topics(name) == ["TaskCreate", "TaskStart", "TaskExit", "TaskDelete"])
    assert shim.sink.namespaces == {"test"}
    assert not shim.delete(name, bundle).pid


def test_the_newer_service_is_the_same(task: Task) -> None:
    client, name, _ = task
    state = client.call("State", TaskRequest(name), service="containerd.task.v3.Task")
    assert messages.StateResponse.decode(state).status == RUNNING


@pytest.mark.parametrize("service", ["", "containerd.task.v1.Task", "x" * 1000])
def test_S5_an_unknown_service_is_unimplemented(task: Task, service: str) -> None:
    client, name, _ = task
    with pytest.raises(Unimplemented):
        client.call("State", TaskRequest(name), service=service)


def test_S5_an_unknown_method_is_unimplemented(task: Task) -> None:
    with pytest.raises(Unimplemented, match="no method"):
        task[0].call("Fly", TaskRequest(task[1]))


def test_S7_create_twice_start_twice_delete_running(task: Task) -> None:
    client, name, bundle = task
    with pytest.raises(Exists):
        client.create(name, bundle)
    with pytest.raises(Precondition):
        client.start(name)
    with pytest.raises(Precondition, match="still running"):
        client.delete(name)
    assert client.state(name).status == RUNNING


@pytest.mark.parametrize("method", ["State", "Start", "Delete", "Wait", "Pids", "Pause", "Resume", "Kill", "Stats",
                                    "CloseIO", "ResizePty", "Update", "Exec"])  # fmt: skip
def test_S7_a_task_that_is_not_there(task: Task, method: str) -> None:
    request = messages.KillRequest("nobody", signal=9) if method == "Kill" else TaskRequest("nobody")
    with pytest.raises(NotFound):
        task[0].call(method, request)


def test_S7_an_exec_that_is_not_there(task: Task) -> None:
    client, name, _ = task
    for method in ("State", "Start", "Delete", "Wait"):
        with pytest.raises(NotFound):
            client.call(method, TaskRequest(name, "nobody"))


def test_S7_what_an_ended_task_still_answers(task: Task) -> None:
    client, name, _ = task
    client.kill(name, 15)
    assert client.wait(name).exit_status == 143
    with pytest.raises(NotFound, match="already finished"):
        client.kill(name)
    with pytest.raises(NotFound):
        client.call("Stats", TaskRequest(name))
    with pytest.raises(Precondition):
        client.call("Pause", TaskRequest(name))
    with pytest.raises(Precondition):
        client.start(name)
    client.delete(name)
    with pytest.raises(NotFound):
        client.wait(name)


def test_S7_a_thousand_wait_and_all_are_answered_once(task: Task) -> None:
    client, name, _ = task
    streams = [client.begin("Wait", TaskRequest(name)) for _ in range(1000)]
    client.kill(name)
    answers = {client.answer(stream) for stream in streams}
    assert [messages.WaitResponse.decode(answer).exit_status for answer in answers] == [137]


def test_S7_harmless_calls_may_come_twice(task: Task) -> None:
    client, name, _ = task
    for _ in range(2):
        client.call("CloseIO", messages.CloseRequest(name, stdin=True))
        client.call("Connect", TaskRequest(name))
    with pytest.raises(Precondition, match="no terminal"):
        client.call("ResizePty", messages.ResizeRequest(name, "", 80, 24))


def test_S7_shutdown_with_a_live_task_is_passed_over(task: Task) -> None:
    client, name, _ = task
    client.call("Shutdown", messages.ShutdownRequest(name, now=True))
    assert client.state(name).status == RUNNING


def test_S8_a_client_that_goes_in_the_middle_of_create_changes_nothing(shim: Shim) -> None:
    bundle, name = shim.bundle(), shim.new_id()
    address = shim.start(name, bundle)
    hasty = shim.connect(address)
    hasty.begin("Create", messages.CreateRequest(name, str(bundle)))
    hasty.close()
    client = shim.connect(address)
    try:
        client.create(name, bundle)
    except Exists:
        pass
    assert client.state(name).status == CREATED
    client.start(name)
    client.end(name)


def test_a_task_that_takes_its_time_holds_up_no_other(shim: Shim) -> None:
    """Its hook waits; meanwhile another task of the pod lives its whole life, and calls about the first wait."""
    go = shim.folder / "go"

    def slow(document: dict[str, Any]) -> None:
        wait = f"while [ ! -e {go} ]; do sleep 0.01; done"
        document["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", wait]}]}
        document["annotations"] = {SANDBOX_ID: "pod"}

    def same_pod(document: dict[str, Any]) -> None:
        document["annotations"] = {SANDBOX_ID: "pod"}

    first, second = shim.new_id(), shim.new_id()
    bundle, other = shim.bundle(change=slow), shim.bundle(change=same_pod)
    address = shim.start(first, bundle)
    assert shim.start(second, other) == address
    client = shim.connect(address)
    create = client.begin("Create", messages.CreateRequest(first, str(bundle)))
    again = client.begin("Create", messages.CreateRequest(first, str(bundle)))
    state = client.begin("State", messages.TaskRequest(first))
    client.create(second, other)
    client.start(second)
    client.end(second)
    go.touch()
    pid = messages.PidResponse.decode(client.answer(create)).pid
    with pytest.raises(Exists):
        client.answer(again)
    assert messages.StateResponse.decode(client.answer(state)).pid == pid
    client.start(first)
    client.end(first)


def test_a_task_whose_process_is_killed_on_its_way_leaves_nothing(shim: Shim) -> None:
    """Killed while its hook waits: Create says so, and the id is free."""

    def never(document: dict[str, Any]) -> None:
        document["hooks"] = {"createContainer": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}

    bundle, name = shim.bundle(change=never), shim.new_id()
    client = shim.connect(shim.start(name, bundle))
    server = shim.server_pid(client)
    create = client.begin("Create", messages.CreateRequest(name, str(bundle)))
    children = Path(f"/proc/{server}/task/{server}/children")
    pid = int(until(lambda: children.read_text().split()[:1])[0])
    until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "sampan-workload")
    os.kill(pid, 9)
    with pytest.raises(Internal):
        client.answer(create)
    with pytest.raises(NotFound):
        client.state(name)


@pytest.mark.parametrize("signal", [0, 65, 4000])
def test_a_number_that_is_no_signal(task: Task, signal: int) -> None:
    with pytest.raises(Invalid):
        task[0].call("Kill", messages.KillRequest(task[1], signal=signal))


def test_a_task_that_was_never_started_is_deleted(shim: Shim) -> None:
    bundle, name = shim.bundle(), shim.new_id()
    client = shim.connect(shim.start(name, bundle))
    pid = client.create(name, bundle)
    assert client.delete(name).pid == pid
    assert not os.path.exists(f"/proc/{pid}")


def test_pause_resume_pids_stats(task: Task, shim: Shim) -> None:
    client, name, _ = task
    client.call("Pause", TaskRequest(name))
    assert client.state(name).status == PAUSED
    with pytest.raises(Precondition):
        client.call("Pause", TaskRequest(name))
    client.call("Resume", TaskRequest(name))
    with pytest.raises(Precondition):
        client.call("Resume", TaskRequest(name))
    assert client.state(name).status == RUNNING
    pids = messages.PidsResponse.decode(client.call("Pids", TaskRequest(name)))
    assert [process.pid for process in pids.processes] == [client.state(name).pid]
    stats = messages.StatsResponse.decode(client.call("Stats", TaskRequest(name))).stats
    assert stats is not None and stats.type_url.startswith("io.containerd.cgroups.v") and stats.value
    until(lambda: shim.sink.topics(name)[-2:] == ["TaskPaused", "TaskResumed"])


def test_a_paused_task_is_killed(task: Task) -> None:
    client, name, _ = task
    client.call("Pause", TaskRequest(name))
    client.kill(name)
    assert client.wait(name).exit_status == 137


def test_an_update_is_taken_or_refused(task: Task) -> None:
    client, name, _ = task
    url = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
    resources = messages.Any(url, json.dumps({"pids": {"limit": 50}}).encode())
    client.call("Update", messages.UpdateRequest(name, resources))
    for wrong in (
        None,
        messages.Any("else", b"{}"),
        messages.Any(url, b"{"),
        messages.Any(url, b'{"pids": 3}'),
    ):
        with pytest.raises(Invalid):
            client.call("Update", messages.UpdateRequest(name, wrong))


def test_a_checkpoint_is_refused_in_one_sentence(task: Task) -> None:
    with pytest.raises(Unimplemented, match="cannot be made"):
        task[0].call("Checkpoint", TaskRequest(task[1]))


def test_execs_have_a_life_of_their_own(task: Task, shim: Shim) -> None:
    client, name, _ = task
    client.execute(name, "one", "/app.wasm", "exit", "9")
    assert client.state(name, "one").status == CREATED
    with pytest.raises(Exists):
        client.execute(name, "one", "/app.wasm")
    waiting = client.begin("Wait", TaskRequest(name, "one"))
    client.start(name, "one")
    assert messages.WaitResponse.decode(client.answer(waiting)).exit_status == 9
    client.execute(name, "two", *("/app.wasm", "sleep", "1000"))
    pid = client.start(name, "two")
    info = {
        process.pid: process.info and messages.ProcessDetails.decode(process.info.value).exec_id
        for process in messages.PidsResponse.decode(client.call("Pids", TaskRequest(name))).processes
    }
    assert info[pid] == "two"
    with pytest.raises(Precondition):
        client.delete(name, "two")
    client.kill(name, 15, "two")
    assert client.wait(name, "two").exit_status == 143
    assert client.delete(name, "two").exit_status == 143
    assert client.delete(name, "one").exit_status == 9
    with pytest.raises(NotFound):
        client.state(name, "one")
    events = ["TaskExecAdded", "TaskExecStarted", "TaskExit"]
    until(lambda: shim.sink.topics(name)[2:] == events * 2)


def test_an_exec_that_never_began_is_deleted_and_one_cannot_begin_in_an_ended_task(task: Task) -> None:
    client, name, _ = task
    client.execute(name, "one", "/app.wasm")
    client.execute(name, "two", "/app.wasm")
    client.delete(name, "one")
    client.kill(name)
    client.wait(name)
    with pytest.raises(Precondition):
        client.start(name, "two")


def test_execs_end_with_their_task(task: Task) -> None:
    client, name, _ = task
    client.execute(name, "one", "/app.wasm", "sleep", "1000")
    client.start(name, "one")
    client.kill(name)
    assert client.wait(name).exit_status == 137
    assert client.wait(name, "one").exit_status == 137


@pytest.mark.parametrize("bundle", ["relative", "/tmp/../etc", "/nowhere/at/all", "/dev/null", "/tmp/\0", ""])
def test_S10_a_bundle_that_is_none(task: Task, bundle: str) -> None:
    with pytest.raises((Invalid, NotFound)):
        task[0].call("Create", messages.CreateRequest("other", bundle))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "." * 3, "x" * 300, "a\0b"])
def test_an_id_that_is_none(task: Task, name: str) -> None:
    client, _, bundle = task
    with pytest.raises(Invalid):
        client.create(name, bundle)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/nowhere/fifo", Invalid),
        ("relative", Invalid),
        ("file://relative", Invalid),
        ("streaming://somewhere", Unimplemented),
        ("/tmp/\0", Invalid),
    ],
)
def test_S10_streams_that_are_none_leave_nothing(shim: Shim, path: str, kind: type[Exception]) -> None:
    bundle, name = shim.bundle(), shim.new_id()
    client = shim.connect(shim.start(name, bundle))
    with pytest.raises(kind):
        client.create(name, bundle, stdout=path)
    with pytest.raises(NotFound):
        client.state(name)
    client.create(name, bundle)
    client.start(name)
    client.end(name)


def test_S10_a_fifo_without_a_reader_holds_nobody_up(shim: Shim) -> None:
    bundle, name = shim.bundle("/app.wasm", "echo", "hello"), shim.new_id()
    os.mkfifo(bundle / "out")
    os.mkfifo(bundle / "in")
    client = shim.connect(shim.start(name, bundle))
    client.create(name, bundle, stdout=str(bundle / "out"), stdin=str(bundle / "in"))
    reader = os.open(bundle / "out", os.O_RDONLY | os.O_NONBLOCK)
    client.start(name)
    assert client.wait(name).exit_status == 0
    assert os.read(reader, 100) == b"hello\n"
    os.close(reader)
    client.delete(name)
