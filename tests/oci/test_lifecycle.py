"""The states of a container and what each command does in each of them (runtime.md, "Lifecycle"; rows C7 to C10)."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from .conftest import Runtime

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the default bundle does")


def test_a_container_goes_from_created_to_deleted(oci: Runtime) -> None:
    bundle = oci.bundle("/app.wasm", "sleep", "100000")
    container_id = oci.new_id()
    oci.ok("create", "--bundle", str(bundle), "--pid-file", str(oci.folder / "pid"), container_id)
    state = oci.state(container_id)
    assert state["status"] == "created" and state["id"] == container_id and state["bundle"] == str(bundle)
    assert state["pid"] == int((oci.folder / "pid").read_text())
    assert state["rootfs"] == str(bundle / "rootfs")
    oci.ok("start", container_id)
    assert oci.state(container_id)["status"] == "running"
    oci.ok("kill", container_id, "KILL")
    oci.wait_for(container_id, "stopped")
    assert oci.state(container_id)["pid"] == 0
    oci.ok("delete", container_id)
    assert "does not exist" in oci.refused("state", container_id)


def test_the_workload_runs_at_start_not_before(oci: Runtime) -> None:
    wait = oci.start("run", "-b", str(oci.bundle("/app.wasm", "echo", "hello")), oci.new_id())
    done = wait()
    assert (done.code, done.out, done.err) == (0, "hello\n", "")
    container_id = oci.created("/app.wasm", "write", "/proc-is-not-needed", "x")
    assert oci.state(container_id)["status"] == "created"


def test_run_gives_the_exit_code_of_its_workload(oci: Runtime) -> None:
    assert oci("run", "-b", str(oci.bundle("/app.wasm", "exit", "7")), oci.new_id()).code == 7
    kept = oci.new_id()
    assert oci("run", "--keep", "-b", str(oci.bundle("/app.wasm", "exit", "8")), kept).code == 8
    assert oci.state(kept)["status"] == "stopped"


def test_a_signal_for_run_reaches_the_container(oci: Runtime, tmp_path: Path) -> None:
    container_id = oci.new_id()
    pid_file = tmp_path / "pid"
    wait = oci.start("run", "--pid-file", str(pid_file), "-b", str(oci.bundle()), container_id)
    while not pid_file.exists():
        os.sched_yield()
    oci.wait_for(container_id, "running")
    runner = int(Path(f"/proc/{pid_file.read_text()}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(runner, signal.SIGTERM)
    assert wait().code == 143


def test_C8_of_many_creations_with_one_id_one_wins(oci: Runtime) -> None:
    bundle, container_id = str(oci.bundle()), oci.new_id()
    ended = [wait() for wait in [oci.start("create", "-b", bundle, container_id) for _ in range(16)]]
    assert sorted(done.code for done in ended) == [0] + [1] * 15
    assert all("exists" in done.err for done in ended if done.code)
    assert oci.state(container_id)["status"] == "created"


def test_C8_an_id_is_taken_until_it_is_deleted(oci: Runtime) -> None:
    container_id = oci.stopped()
    assert "exists" in oci.refused("create", "-b", str(oci.bundle()), container_id)
    oci.ok("delete", container_id)
    oci.ok("create", "-b", str(oci.bundle()), container_id)


def test_C9_start_is_for_created_containers_alone(oci: Runtime) -> None:
    running, stopped = oci.running(), oci.stopped()
    assert "running, not created" in oci.refused("start", running)
    assert oci.state(running)["status"] == "running"
    assert "stopped, not created" in oci.refused("start", stopped)
    assert "does not exist" in oci.refused("start", oci.new_id())


def test_C9_kill_is_for_created_and_running_containers(oci: Runtime) -> None:
    created, stopped = oci.created(), oci.stopped()
    oci.ok("kill", created, "9")
    oci.wait_for(created, "stopped")
    assert "container not running" in oci.refused("kill", stopped)
    assert "does not exist" in oci.refused("kill", oci.new_id())


def test_C9_sigterm_ends_a_computing_workload(oci: Runtime) -> None:
    for words in (("loop",), ("sleep", "100000")):
        container_id = oci.running("/app.wasm", *words)
        oci.ok("kill", container_id)
        oci.wait_for(container_id, "stopped")


def test_C9_sigterm_ends_a_workload_that_waits_for_input(oci: Runtime) -> None:
    read, write = os.pipe()
    container_id = oci.new_id()
    wait = oci.start("run", "-b", str(oci.bundle("/app.wasm", "stdin")), container_id, stdin=read)
    os.close(read)
    while not oci.ok("list", "-q"):
        pass
    oci.wait_for(container_id, "running")
    oci.ok("kill", container_id)
    assert wait().code == 143
    os.close(write)


def test_C9_delete_is_not_for_running_containers(oci: Runtime) -> None:
    running, created, stopped = oci.running(), oci.created(), oci.stopped()
    assert "not stopped" in oci.refused("delete", running)
    assert oci.state(running)["status"] == "running"
    for container_id in (created, stopped):
        oci.ok("delete", container_id)
        assert "does not exist" in oci.refused("delete", container_id)


def test_C9_forced_delete_is_for_every_state_and_may_be_said_twice(oci: Runtime) -> None:
    for container_id in (oci.running(), oci.created(), oci.stopped(), oci.new_id()):
        oci.ok("delete", "--force", container_id)
        oci.ok("delete", "-f", container_id)
    assert json.loads(oci.ok("list", "-f", "json")) is None


@pytest.mark.parametrize("number", ["65", "SIGFOO", "", "1.5", "KILL ", "0x9", "9" * 30])
def test_C10_what_is_no_signal_is_refused(oci: Runtime, number: str) -> None:
    container_id = oci.running()
    assert "is not a signal" in oci.refused("kill", container_id, number)
    assert oci.state(container_id)["status"] == "running"


def test_C10_a_negative_signal_is_refused(oci: Runtime) -> None:
    assert "-1" in oci.refused("kill", oci.running(), "-1")


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "sigterm", "15"])
def test_C10_a_signal_is_named_in_every_usual_way(oci: Runtime, name: str) -> None:
    container_id = oci.running()
    oci.ok("kill", container_id, name)
    oci.wait_for(container_id, "stopped")


@pytest.mark.parametrize(
    "container_id",
    ["", ".", "..", "a/b", "/etc", "../x", "x\ny", "a" * 1025, "bücher", " x", ".hidden", "a b", "\x7f"],
)
def test_C7_what_is_no_id_is_refused_by_every_command(oci: Runtime, container_id: str) -> None:
    assert "is not a container id" in oci.refused("create", "-b", str(oci.bundle()), container_id)
    for command in ("start", "state", "kill", "delete", "pause", "ps", "update", "checkpoint"):
        oci.refused(command, container_id)
    oci.refused("exec", container_id, "/app.wasm", code=255)


def test_C7_an_id_of_every_allowed_form_is_taken(oci: Runtime) -> None:
    for name in ("0", "a", "A.b_c+d-e", "x" * 200):
        container_id = f"{name}.{oci.new_id()}"
        oci.ok("create", "-b", str(oci.bundle()), container_id)
        assert oci.state(container_id)["id"] == container_id


def test_a_failed_creation_leaves_nothing(oci: Runtime) -> None:
    def ask_too_much(document: dict[str, object]) -> None:
        document["mounts"] = [{"destination": "/data", "source": "/no/such/folder", "options": ["bind"]}]

    oci.refused("create", "-b", str(oci.bundle(change=ask_too_much)), oci.new_id())
    oci.refused("create", "-b", str(oci.folder / "nowhere"), oci.new_id())
    oci.refused("create", "-b", str(oci.bundle()), "--pid-file", "/no/such/folder/pid", oci.new_id())
    assert oci.ok("list", "-q") == ""


def test_changes_of_the_bundle_do_not_reach_a_created_container(oci: Runtime) -> None:
    bundle, container_id = oci.bundle(), oci.new_id()
    oci.ok("create", "-b", str(bundle), container_id)
    (bundle / "config.json").write_text("{}")
    oci.ok("start", container_id)
    assert oci.state(container_id)["status"] == "running"
