"""S3, S4, S11 and S15's shape with the real podman: `podman --runtime … run` as people type it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import free_port, needs, until

from .conftest import CARRIES, END_OF_FILE, LINUX, RELATIVE, TOOLS, WEB, Terminal, Tool, answer, says_hello

pytestmark = needs("podman", "runc", "busybox")
RUN = ("run", "--rm", "--network", "host")
DETACHED = ("run", "-d", "--network", "host")


@pytest.fixture(autouse=True)
def clean(podman: Tool) -> Iterator[None]:
    """A test's containers go with it."""
    yield
    podman.ok("pod", "rm", "-af", "-t", "0")
    podman.ok("rm", "-af", "-t", "0")


def test_S11_run_curl_and_remove(podman: Tool) -> None:
    port = free_port()
    podman.ok(*DETACHED, "-e", f"PORT={port}", "--name=wasm-demo-app", WEB)
    assert says_hello(port)
    assert podman.ok("logs", "wasm-demo-app") == f"listening on port {port}\n"
    assert "Up" in podman.ok("ps", "--format", "{{.Status}}")
    (stats,) = json.loads(podman.ok("stats", "--no-stream", "--format", "json", "wasm-demo-app"))
    assert int(stats["pids"]) > 0
    podman.ok("rm", "-f", "-t", "60", "wasm-demo-app")
    assert answer(port) == ""


def test_S11_stop_gives_143_at_once(podman: Tool) -> None:
    podman.ok(*DETACHED, "--name", "busy", TOOLS, "loop")
    podman.ok("stop", "--time", "60", "busy")
    assert podman.ok("wait", "busy") == "143\n"
    podman.ok("start", "busy")
    podman.ok("kill", "--signal", "SIGKILL", "busy")
    assert podman.ok("wait", "busy") == "137\n"


@pytest.mark.parametrize(("args", "code"), [(("exit", "0"), 0), (("exit", "7"), 7), (("trap",), 134)])
def test_S11_the_exit_code_is_the_modules(podman: Tool, args: tuple[str, ...], code: int) -> None:
    assert podman(*RUN, TOOLS, *args).returncode == code


def test_S11_exec_runs_another_module_in_the_containers_world(podman: Tool) -> None:
    podman.ok(*DETACHED, "--name", "box", "-e", "LEVEL=1", TOOLS, "sleep", "100000")
    podman.ok("exec", "box", "/toolbox.wasm", "write", "/left", "here")
    assert podman.ok("exec", "box", "/toolbox.wasm", "cat", "/left") == "here"
    env = podman.ok("exec", "-e", "MORE=2", "box", "/toolbox.wasm", "env").splitlines()
    assert {"LEVEL=1", "MORE=2"} <= set(env)
    assert podman.ok("exec", "-i", "box", "/toolbox.wasm", "stdin", stdin="through") == "through"
    assert podman("exec", "box", "/toolbox.wasm", "exit", "9").returncode == 9
    assert podman("exec", "-u", "1000", "box", "/toolbox.wasm", "write", "/x", "y").returncode == 1
    missing = podman("exec", "box", "/nothing.wasm")
    assert missing.returncode == 127 and "no such file" in missing.stderr
    podman.ok("exec", "-d", "box", "/toolbox.wasm", "write", "/behind", "it")
    until(lambda: podman("exec", "box", "/toolbox.wasm", "cat", "/behind").stdout == "it")


def test_S11_volumes_are_read_only_or_not(podman: Tool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host")
    assert podman.ok(*RUN, "-v", f"{tmp_path}:/data:ro", TOOLS, "cat", "/data/file") == "of the host"
    assert podman(*RUN, "-v", f"{tmp_path}:/data:ro", TOOLS, "write", "/data/new", "x").returncode == 1
    assert not (tmp_path / "new").exists()
    podman.ok(*RUN, "-v", f"{tmp_path}:/data", TOOLS, "write", "/data/new", "x")
    assert (tmp_path / "new").read_text() == "x"


def test_S11_a_read_only_root_and_a_tmpfs_in_it(podman: Tool) -> None:
    assert podman(*RUN, "--read-only", TOOLS, "write", "/new", "x").returncode == 1
    podman.ok(*RUN, "--read-only", "--tmpfs", "/data", TOOLS, "write", "/data/new", "x")


def test_S11_another_user_may_read_but_not_write(podman: Tool) -> None:
    assert podman(*RUN, "--user", "1000", TOOLS, "write", "/new", "x").returncode == 1
    assert podman.ok(*RUN, "--user", "1000", TOOLS, "echo", "well") == "well\n"


@pytest.mark.parametrize(
    "flags",
    [
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--security-opt", "seccomp=unconfined"),
        ("--memory", "64m", "--pids-limit", "20", "--cpus", "0.5"),
        ("--privileged",),
        ("--pid", "host", "--ipc", "host", "--uts", "host"),
        ("--hostname", "boat", "--ulimit", "nofile=64:64", "--ulimit", "nproc=64:64", "--umask", "0077"),
        ("--uidmap", "0:100000:5000"),
        ("-t",),
    ],
)
def test_S11_a_module_runs_with(podman: Tool, flags: tuple[str, ...]) -> None:
    assert podman.ok(*RUN, *flags, TOOLS, "echo", "well").rstrip() == "well"


def test_S11_a_terminal_is_the_modules(podman: Tool) -> None:
    command = [*podman.command, "run", "--rm", "-it", "--network", "none", TOOLS, "stdin"]
    with Terminal(command, podman) as terminal:
        terminal.type(b"typed\n")
        terminal.until_seen(b"typed\r\ntyped\r\n")  # the terminal's echo, then the module's
        terminal.type(END_OF_FILE)
        assert terminal.wait() == 0


def test_S11_what_uses_more_memory_than_it_may_is_killed(podman: Tool) -> None:
    hungry = podman.ok(*DETACHED, "--memory", "64m", "--memory-swap", "64m", TOOLS, "grow", "4000").strip()
    assert podman.ok("wait", hungry) == "137\n"


def test_S11_pause_unpause_and_update(podman: Tool) -> None:
    podman.ok(*DETACHED, "--name", "box", TOOLS, "sleep", "100000")
    podman.ok("pause", "box")
    assert podman.ok("inspect", "-f", "{{.State.Status}}", "box") == "paused\n"
    podman.ok("unpause", "box")
    podman.ok("update", "--memory", "128m", "box")
    assert podman.ok("inspect", "-f", "{{.State.Status}}", "box") == "running\n"


def test_S11_what_is_not_there_is_said_and_nothing_stays(podman: Tool) -> None:
    done = podman(*RUN, "--entrypoint", "/nothing.wasm", TOOLS)
    assert done.returncode == 127 and "nothing.wasm" in done.stderr
    assert podman.ok("ps", "-aq") == ""


def test_S3_a_relative_command_without_slash_and_executable_bit(podman: Tool) -> None:
    out = podman.ok(*RUN, RELATIVE)
    assert "\nwasi_example_main.wasm\nFile content is This is in a file\n" in out


def test_S4_an_image_that_brings_its_own_wasm_runtime_is_a_linux_container(podman: Tool) -> None:
    port = free_port()
    podman.ok(*DETACHED, "-e", f"PORT={port}", "--name", "carries", CARRIES)
    assert until(lambda: answer(port)) == "Hello from a Linux binary\n"
    assert podman.ok("logs", "carries") == "pid 1 serves /http-server.wasm\n"
    assert podman("exec", "carries", "wasmedge").returncode == 2
    assert podman(*RUN, LINUX, "/bin/sh", "-c", "exit 5").returncode == 5


def test_S15_a_pod_of_wasm_and_linux_containers_shares_its_network(podman: Tool) -> None:
    pause = ("--infra-image", LINUX, "--infra-command", "/bin/busybox sleep 100000")
    podman.ok("pod", "create", "--name", "mixed", "--network", "none", *pause)
    podman.ok("run", "-d", "--pod", "mixed", "--name", "web", WEB)
    wget = ("/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/")
    client = ("run", "--rm", "--pod", "mixed", LINUX)
    assert until(lambda: podman(*client, *wget).stdout) == "Hello, World!\n"
    podman.ok("run", "-d", "--pod", "mixed", "--name", "second", TOOLS, "sleep", "100000")
    assert len(podman.ok("ps", "-q", "--filter", "pod=mixed", "--filter", "status=running").split()) == 3
    podman.ok("pod", "stop", "-t", "0", "mixed")
    assert podman.ok("ps", "-q") == ""
