"""S3, S4, S7 and S8 with the real containerd: `ctr run` as people type it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.scenarios.conftest import free_port, needs, until

from .conftest import CARRIES, LINUX, RELATIVE, TOOLS, WEB, Peers, Tool, answer, says_hello

pytestmark = needs("containerd", "ctr", "runc", "busybox", "nsenter")
COMPAT, SMART, PLAIN = "module.wasm.image/variant=compat", "module.wasm.image/variant=compat-smart", ""


def run(peers: Peers, label: str = "") -> list[str]:
    """The words that every run here begins with."""
    words = ["run", "--runc-binary", str(peers.runtime), "--runtime", "io.containerd.runc.v2"]
    return [*words, "--label", label] if label else words


def tasks(ctr: Tool) -> dict[str, str]:
    """Name -> status, as `ctr task ls` shows them."""
    lines = ctr.ok("task", "ls").splitlines()[1:]
    return {line.split()[0]: line.split()[2] for line in lines}


@pytest.fixture
def detached(ctr: Tool, peers: Peers) -> Iterator[Callable[..., str]]:
    """Starts a task that stays, and gives its name: `detached(name, image, *args)`."""
    names = []

    def start(name: str, image: str, *args: str, flags: tuple[str, ...] = ()) -> str:
        names.append(name)
        ctr.ok(*run(peers), "-d", *flags, image, name, *args)
        return name

    yield start
    for name in names:
        ctr("task", "kill", "--signal", "SIGKILL", name)
        until(lambda name=name: tasks(ctr).get(name, "STOPPED") == "STOPPED")
        ctr("task", "rm", name)
        ctr.ok("container", "rm", name)
    assert peers.cgroups() == []


def test_S7_a_server_on_the_host_network_answers_and_is_killed(ctr: Tool, peers: Peers) -> None:
    port = free_port()
    server = ctr.start(*run(peers, COMPAT), "--rm", "--net-host", "--env", f"PORT={port}", WEB, "web")
    assert says_hello(port)
    assert tasks(ctr) == {"web": "RUNNING"}
    ctr.ok("task", "kill", "--signal", "SIGKILL", "web")
    out, _ = server.communicate(timeout=30)
    assert out == f"listening on port {port}\n"
    assert server.returncode == 137
    assert tasks(ctr) == {}
    assert answer(port) == ""


@pytest.mark.parametrize("label", [SMART, COMPAT, PLAIN])
def test_S8_a_module_sees_its_world(ctr: Tool, peers: Peers, label: str) -> None:
    out = ctr.ok(*run(peers, label), "--rm", TOOLS, "example", "/wasi_example_main.wasm", "50000000")
    lines = out.splitlines()
    assert lines[0].startswith("Random number: ")
    assert len(lines[1].removeprefix("Random bytes: [").removesuffix("]").split(", ")) == 128
    assert lines[2:] == [
        "Printed from wasi: This is from a main function",
        "This is from a main function",
        "The env vars are as follows.",
        "PATH: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME: /",
        "The args are as follows.",
        "/wasi_example_main.wasm",
        "50000000",
        "File content is This is in a file",
    ]


@pytest.mark.parametrize(("args", "code"), [(("exit", "0"), 0), (("exit", "7"), 7), (("trap",), 134)])
def test_S8_the_exit_code_is_the_modules(ctr: Tool, peers: Peers, args: tuple[str, ...], code: int) -> None:
    assert ctr(*run(peers, COMPAT), "--rm", TOOLS, "ends", "/toolbox.wasm", *args).returncode == code


@pytest.mark.parametrize("args", [("loop",), ("sleep", "100000"), ("stdin",)])
def test_S8_sigterm_ends_what_computes_sleeps_or_waits(
    ctr: Tool, peers: Peers, args: tuple[str, ...]
) -> None:
    busy = ctr.start(*run(peers, COMPAT), "--rm", TOOLS, "busy", "/toolbox.wasm", *args)
    until(lambda: tasks(ctr).get("busy") == "RUNNING")
    ctr.ok("task", "kill", "--signal", "SIGTERM", "busy")
    busy.communicate(timeout=30)
    assert busy.returncode == 143


def test_S3_a_relative_command_without_slash_and_executable_bit(ctr: Tool, peers: Peers) -> None:
    out = ctr.ok(*run(peers), "--rm", RELATIVE, "relative")
    assert "\nwasi_example_main.wasm\nFile content is This is in a file\n" in out


def test_S4_an_image_that_brings_its_own_wasm_runtime_is_a_linux_container(
    ctr: Tool, peers: Peers, detached: Callable[..., str]
) -> None:
    port = free_port()
    detached("carries", CARRIES, flags=("--net-host", "--env", f"PORT={port}"))
    assert until(lambda: answer(port)) == "Hello from a Linux binary\n"
    state = f"/run/containerd/runc/{peers.name}"
    listed = subprocess.run(["runc", "--root", state, "list", "-q"], capture_output=True, text=True)
    assert listed.stdout == "carries\n"
    usage = ctr("task", "exec", "--exec-id", "usage", "carries", "/usr/bin/wasmedge")
    assert usage.returncode == 2  # a Linux program's own


def test_linux_containers_run_as_ever(ctr: Tool, peers: Peers) -> None:
    done = ctr(*run(peers, COMPAT), "--rm", LINUX, "linux", "/bin/sh", "-c", "echo from $0; exit 5", "linux")
    assert (done.stdout, done.returncode) == ("from linux\n", 5)


def test_exec_runs_another_module_in_the_containers_world(ctr: Tool, detached: Callable[..., str]) -> None:
    name = detached("web", TOOLS, "/toolbox.wasm", "sleep", "100000")

    def execute(exec_id: str, *args: str) -> subprocess.CompletedProcess[str]:
        return ctr("task", "exec", "--exec-id", exec_id, name, *args)

    assert execute("write", "/toolbox.wasm", "write", "/left", "here").returncode == 0
    assert execute("read", "/toolbox.wasm", "cat", "/left").stdout == "here"
    assert "File content is This is in a file" in execute("other", "/wasi_example_main.wasm").stdout
    assert execute("code", "/toolbox.wasm", "exit", "9").returncode == 9
    missing = execute("missing", "/nothing.wasm")
    assert missing.returncode != 0 and "no such file" in missing.stderr
    assert tasks(ctr) == {name: "RUNNING"}


def test_a_paused_task_does_nothing_until_it_is_resumed(ctr: Tool, detached: Callable[..., str]) -> None:
    port = free_port()
    name = detached("web", WEB, flags=("--net-host", "--env", f"PORT={port}"))
    assert says_hello(port)
    ctr.ok("task", "pause", name)
    assert tasks(ctr) == {name: "PAUSED"}
    assert answer(port, seconds=1) == ""
    ctr.ok("task", "resume", name)
    assert tasks(ctr) == {name: "RUNNING"}
    assert says_hello(port)


def test_metrics_and_processes_of_a_task(ctr: Tool, peers: Peers, detached: Callable[..., str]) -> None:
    name = detached("busy", TOOLS, "/toolbox.wasm", "loop", flags=("--memory-limit", str(256 << 20)))
    metrics = dict(line.split(None, 1) for line in ctr.ok("task", "metrics", name).splitlines()[3:])
    assert metrics["memory.limit_in_bytes"].strip() == str(256 << 20)
    assert int(metrics["memory.usage_in_bytes"]) > 0
    assert int(metrics["pids.current"]) > 0
    pid = ctr.ok("task", "ls").splitlines()[1].split()[1]
    assert pid in ctr.ok("task", "ps", name).split()
    assert len(peers.cgroups()) > 0


def test_a_detached_task_is_stopped_then_removed(ctr: Tool, peers: Peers) -> None:
    ctr.ok(*run(peers), "-d", TOOLS, "short", "/toolbox.wasm", "exit", "3")
    until(lambda: tasks(ctr) == {"short": "STOPPED"})
    assert ctr("task", "rm", "short").returncode in (0, 3)  # ctr ends with the task's code
    ctr.ok("container", "rm", "short")
    assert tasks(ctr) == {}


def test_a_network_namespace_of_its_own_has_a_loopback(ctr: Tool, detached: Callable[..., str]) -> None:
    detached("web", WEB)
    pid = ctr.ok("task", "ls").splitlines()[1].split()[1]

    def ask() -> str:
        wget = ["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
        return subprocess.run(
            ["nsenter", "-t", pid, "--net", *wget], capture_output=True, text=True, timeout=30
        ).stdout

    assert until(ask) == "Hello, World!\n"


def test_what_is_not_there_is_said_and_nothing_stays(ctr: Tool, peers: Peers) -> None:
    done = ctr(*run(peers), "--rm", TOOLS, "missing", "/nothing.wasm")
    assert done.returncode != 0 and "nothing.wasm" in done.stderr
    assert tasks(ctr) == {}
    assert ctr.ok("container", "ls", "-q") == ""
    assert peers.cgroups() == []
