"""S9, S10 and what else people do with `ctr`: the shim under Debian's containerd."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.scenarios.conftest import free_port, needs, until
from tests.scenarios.oci.conftest import Terminal, answer, says_hello

from .conftest import HELLO, LINUX, RUNTIMES, TOOLS, WEB, Host

pytestmark = needs("containerd", "ctr", "runc", "busybox")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_S9_a_server_runs_under_every_name(host: Host, runtime: str) -> None:
    port = free_port()
    server = host.ctr.start(
        *host.task(
            WEB, name=f"web-{runtime}", runtime=runtime, flags=("--rm", "--net-host", "--env", f"PORT={port}")
        )
    )
    assert says_hello(port)
    host.ctr.ok("task", "kill", "--signal", "SIGKILL", f"web-{runtime}")
    out, _ = server.communicate(timeout=30)
    assert (out, server.returncode) == (f"listening on port {port}\n", 137)
    assert answer(port) == ""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_S10_a_module_is_named_on_the_command_line(host: Host, runtime: str) -> None:
    words = host.task(TOOLS, "/wasi-demo-app.wasm", "echo", "hello", runtime=runtime, flags=("--rm",))
    assert host.ctr.ok(*words) == "hello\n"


def test_the_engine_that_serves_instead_is_told_in_the_log(host: Host) -> None:
    host.ctr.ok(*host.task(HELLO, runtime="wasmedge", flags=("--rm",)))
    assert until(lambda: "wasmedge is asked for; wasmtime runs it" in host.log())


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes_are_exact(host: Host, code: int) -> None:
    done = host.ctr(*host.task(TOOLS, "/toolbox.wasm", "exit", str(code), flags=("--rm",)))
    assert done.returncode == code, done.stderr


def test_a_trap_is_134_with_its_text(host: Host) -> None:
    done = host.ctr(*host.task(TOOLS, "/toolbox.wasm", "trap", flags=("--rm",)))
    assert done.returncode == 134
    assert "unreachable" in done.stderr


def test_stdout_and_stderr_are_apart_and_input_comes_and_ends(host: Host) -> None:
    done = host.ctr(*host.task(TOOLS, "/toolbox.wasm", "stderr", "oops", flags=("--rm",)))
    assert (done.stdout, done.stderr) == ("", "oops\n")
    words = host.task(TOOLS, "/toolbox.wasm", "stdin", flags=("--rm",))
    assert host.ctr.ok(*words, stdin="one\ntwo\n") == "one\ntwo\n"


def test_much_output_arrives_whole(host: Host) -> None:
    words = host.task(TOOLS, "/toolbox.wasm", "flood", str(3 << 20), flags=("--rm",))
    assert len(host.ctr.ok(*words)) == 3 << 20


def test_a_log_file_is_appended_to(host: Host, tmp_path: Path) -> None:
    log = tmp_path / "deep" / "log"
    for word in ("one", "two"):
        name = f"log-{word}"
        host.begin(name, TOOLS, "/toolbox.wasm", "echo", word, flags=("--log-uri", f"file://{log}"))
        until(lambda name=name: host.tasks()[name] == "STOPPED")
        host.end(name)
    assert log.read_text() == "one\ntwo\n"


def test_S10_a_program_for_the_log_is_refused(host: Host) -> None:
    done = host.ctr(*host.task(HELLO, name="binary", flags=("-d", "--log-uri", "binary:///bin/sh")))
    assert done.returncode != 0
    assert "cannot go to a program" in done.stderr
    host.ctr.ok("container", "rm", "binary")
    until(lambda: not host.left())


def test_a_terminal_is_one_and_is_resized(host: Host) -> None:
    words = ["ctr", *host.task(LINUX, "/bin/sh", name="tty", flags=("--rm", "-t"))]
    with Terminal(words, host.ctr) as terminal:
        terminal.type(b"busybox tty; echo rows=$(busybox stty size)\n")
        terminal.until_seen(b"/dev/pts/")
        terminal.until_seen(b"rows=")
        terminal.type(b"exit 3\n")
        assert terminal.wait() == 3


def test_a_wasm_workload_has_a_terminal(host: Host) -> None:
    words = ["ctr", *host.task(TOOLS, "/toolbox.wasm", "stdin", name="wasm-tty", flags=("--rm", "-t"))]
    with Terminal(words, host.ctr) as terminal:
        terminal.type(b"hello there\n")
        terminal.until_seen(b"hello there\r\r\nhello there\r\r\n")  # the terminal's echo, and the workload
        terminal.type(b"\x04")
        assert terminal.wait() == 0


def test_a_task_is_paused_resumed_measured_and_listed(host: Host) -> None:
    name = host.begin("states", TOOLS, "/toolbox.wasm", "sleep", "1000")
    try:
        host.ctr.ok("task", "pause", name)
        assert host.tasks()[name] == "PAUSED"
        host.ctr.ok("task", "resume", name)
        assert host.tasks()[name] == "RUNNING"
        metrics = host.ctr.ok("task", "metrics", "--format", "json", name)
        assert _number(metrics, "pids", "current") >= 1
        assert host.ctr.ok("task", "ps", name).split()[2] == str(host.pid(name))
    finally:
        host.end(name)


def _number(text: str, *path: str) -> int:
    value = json.loads(text)
    for name in path:
        value = value[name]
    return int(value)


def test_exec_runs_another_module_in_the_same_world(host: Host) -> None:
    name = host.begin("exec", TOOLS, "/toolbox.wasm", "sleep", "1000")
    try:
        done = host.ctr("task", "exec", "--exec-id", "a", name, "/toolbox.wasm", "exit", "7")
        assert done.returncode == 7
        out = host.ctr.ok("task", "exec", "--exec-id", "b", name, "/toolbox.wasm", "stdin", stdin="in\n")
        assert out == "in\n"
        assert host.ctr("task", "exec", "--exec-id", "c", name, "/nowhere.wasm").returncode != 0
        assert host.ctr.ok("task", "exec", "--exec-id", "d", name, "/toolbox.wasm", "echo", "on") == "on\n"
    finally:
        host.end(name)


def test_signals_end_a_task_that_never_looks(host: Host) -> None:
    for number, code in (("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", 137)):
        task = host.ctr.start(
            *host.task(TOOLS, "/toolbox.wasm", "loop", name=f"loop-{code}", flags=("--rm",))
        )
        until(lambda code=code: host.tasks().get(f"loop-{code}") == "RUNNING")
        host.ctr.ok("task", "kill", "--signal", number, f"loop-{code}")
        task.communicate(timeout=30)
        assert task.returncode == code


def test_F15_a_memory_limit_is_told_as_what_it_is(host: Host) -> None:
    events = host.ctr.start("events")
    try:
        until(lambda: host.ctr("version").returncode == 0)
        words = host.task(
            TOOLS, "/toolbox.wasm", "grow", name="oom", flags=("--rm", "--memory-limit", str(48 << 20))
        )
        assert host.ctr(*words).returncode == 137
        time.sleep(0.3)
    finally:
        events.terminate()
        told, _ = events.communicate(timeout=30)
    topics = [line.split()[5] for line in told.splitlines() if '"oom"' in line and "/tasks/" in line]
    assert topics == ["/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit", "/tasks/delete"]


def test_a_linux_image_runs_beside(host: Host) -> None:
    done = host.ctr(*host.task(LINUX, "/bin/sh", "-c", "echo linux; exit 4", flags=("--rm",)))
    assert (done.stdout, done.returncode) == ("linux\n", 4)
    name = host.begin("linux-exec", LINUX, "/bin/sh", "-c", "while :; do busybox sleep 1; done")
    try:
        done = host.ctr("task", "exec", "--exec-id", "a", name, "/bin/sh", "-c", "echo in; exit 6")
        assert (done.stdout, done.returncode) == ("in\n", 6)
        host.ctr.ok("task", "pause", name)
        host.ctr.ok("task", "resume", name)
    finally:
        host.end(name)


def test_what_cannot_run_says_so_and_leaves_nothing(host: Host) -> None:
    done = host.ctr(*host.task(TOOLS, "/missing.wasm", name="missing", flags=("--rm",)))
    assert done.returncode != 0
    assert "missing.wasm" in done.stderr
    host.ctr("container", "rm", "missing")
    until(lambda: not host.left())


def test_an_update_changes_a_limit(host: Host) -> None:
    name = host.begin(
        "update", TOOLS, "/toolbox.wasm", "sleep", "1000", flags=("--memory-limit", str(256 << 20))
    )
    try:
        folder = next(Path("/sys/fs/cgroup").glob(f"*/{host.name}/{name}/memory.limit_in_bytes"), None)
        if folder is None:
            pytest.skip("the cgroups are version 2")
        assert int(folder.read_text()) == 256 << 20
    finally:
        host.end(name)


def test_the_program_says_what_it_is(host: Host) -> None:
    program = host.folder / "bin" / "containerd-shim-sampan-v1"
    told = subprocess.run([program, "-v"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert told.stdout.startswith("containerd-shim-sampan-v1 ")
    refused = subprocess.run(
        [program, "-id", "x", "start"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert refused.returncode == 1
    assert refused.stderr == (
        "containerd-shim-sampan: the flag -namespace is missing; it is started by containerd, with -namespace, "
        "-address and -id, and: start or delete\n"
    )
