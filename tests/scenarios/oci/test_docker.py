"""S3, S4 and S11 with the real dockerd: `docker run --runtime=…` as people type it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import free_port, needs, until

from .conftest import (
    CARRIES,
    END_OF_FILE,
    INTERRUPT,
    LINUX,
    RELATIVE,
    TOOLS,
    WEB,
    Peers,
    Terminal,
    Tool,
    answer,
    says_hello,
)  # fmt: skip

pytestmark = needs("dockerd", "docker", "runc", "busybox", "ip")
RUN = ("run", "--rm", "--runtime=sampan")
DETACHED = ("run", "-d", "--runtime=sampan")


@pytest.fixture(autouse=True)
def clean(docker: Tool, peers: Peers) -> Iterator[None]:
    """A test's containers go with it."""
    yield
    for container in docker.ok("ps", "-aq").split():
        docker.ok("rm", "-f", container)
    assert peers.cgroups() == []


def test_S11_run_curl_and_remove(docker: Tool) -> None:
    port = free_port()
    docker.ok(*DETACHED, "-p", f"127.0.0.1:{port}:8080", "--name=wasm-demo-app", WEB)
    assert says_hello(port)
    assert docker.ok("logs", "wasm-demo-app") == "listening on port 8080\n"
    shown = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", "wasm-demo-app"))
    assert int(shown["PIDs"]) > 0 and not shown["MemUsage"].startswith("0B")
    _, process = docker.ok("top", "wasm-demo-app").splitlines()
    assert process.split()[-1] == "/http-server.wasm"
    assert docker.ok("rm", "-f", "wasm-demo-app") == "wasm-demo-app\n"
    assert answer(port) == ""


def test_S11_stop_gives_143_at_once(docker: Tool) -> None:
    docker.ok(*DETACHED, "--name", "busy", TOOLS, "loop")
    docker.ok("stop", "--time", "60", "busy")
    assert docker.ok("wait", "busy") == "143\n"
    docker.ok("start", "busy")
    docker.ok("kill", "--signal", "SIGKILL", "busy")
    assert docker.ok("wait", "busy") == "137\n"


@pytest.mark.parametrize(("args", "code"), [(("exit", "0"), 0), (("exit", "7"), 7), (("trap",), 134)])
def test_S11_the_exit_code_is_the_modules(docker: Tool, args: tuple[str, ...], code: int) -> None:
    assert docker(*RUN, TOOLS, *args).returncode == code
    container = docker.ok(*DETACHED, TOOLS, *args).strip()
    assert docker.ok("wait", container) == f"{code}\n"


def test_S11_exec_runs_another_module_in_the_containers_world(docker: Tool) -> None:
    docker.ok(*DETACHED, "--name", "box", "-e", "LEVEL=1", TOOLS, "sleep", "100000")
    docker.ok("exec", "box", "/toolbox.wasm", "write", "/left", "here")
    assert docker.ok("exec", "box", "/toolbox.wasm", "cat", "/left") == "here"
    env = docker.ok("exec", "-e", "MORE=2", "box", "/toolbox.wasm", "env").splitlines()
    assert {"LEVEL=1", "MORE=2", "HOME=/"} <= set(env)
    assert docker.ok("exec", "-i", "box", "/toolbox.wasm", "stdin", stdin="through") == "through"
    assert docker("exec", "box", "/toolbox.wasm", "exit", "9").returncode == 9
    assert docker("exec", "-u", "1000", "box", "/toolbox.wasm", "write", "/x", "y").returncode == 1
    missing = docker("exec", "box", "/nothing.wasm")
    assert missing.returncode in (126, 127) and "no such file" in missing.stdout + missing.stderr
    docker.ok("exec", "-d", "box", "/toolbox.wasm", "write", "/behind", "it")
    until(lambda: docker("exec", "box", "/toolbox.wasm", "cat", "/behind").stdout == "it")


def test_S11_a_health_check_is_a_module(docker: Tool, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f'FROM {TOOLS}\nHEALTHCHECK --interval=1s CMD ["/toolbox.wasm", "echo", "well"]\n'
    )
    docker.ok("build", "-q", "-t", "localhost/healthy:1", str(tmp_path))
    docker.ok(*DETACHED, "--name", "patient", "localhost/healthy:1", "sleep", "100000")

    def health() -> str:
        return docker.ok("inspect", "-f", "{{.State.Health.Status}}", "patient").strip()

    until(lambda: health() == "healthy")


def test_S11_volumes_are_read_only_or_not(docker: Tool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host")
    assert docker.ok(*RUN, "-v", f"{tmp_path}:/data:ro", TOOLS, "cat", "/data/file") == "of the host"
    assert docker(*RUN, "-v", f"{tmp_path}:/data:ro", TOOLS, "write", "/data/new", "x").returncode == 1
    assert not (tmp_path / "new").exists()
    docker.ok(*RUN, "-v", f"{tmp_path}:/data", TOOLS, "write", "/data/new", "x")
    assert (tmp_path / "new").read_text() == "x"
    docker.ok(*RUN, "-v", "kept:/data", TOOLS, "write", "/data/new", "kept")
    assert docker.ok(*RUN, "-v", "kept:/data", TOOLS, "cat", "/data/new") == "kept"


def test_S11_a_read_only_root_and_a_tmpfs_in_it(docker: Tool) -> None:
    assert docker(*RUN, "--read-only", TOOLS, "write", "/new", "x").returncode == 1
    docker.ok(*RUN, "--read-only", "--tmpfs", "/tmp", TOOLS, "write", "/tmp/new", "x")


def test_S11_another_user_may_read_but_not_write(docker: Tool) -> None:
    assert docker(*RUN, "--user", "1000", TOOLS, "write", "/new", "x").returncode == 1
    assert docker.ok(*RUN, "--user", "1000:1000", "--group-add", "2000", TOOLS, "echo", "well") == "well\n"


@pytest.mark.parametrize(
    "flags",
    [
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--security-opt", "seccomp=unconfined"),
        ("--pids-limit", "20"),
        ("--cpus", "0.5", "--cpu-shares", "100", "--cpuset-cpus", "0"),
        ("--network", "host"),
        ("--network", "none"),
        ("--init",),
        ("--privileged",),
        ("--pid", "host", "--ipc", "host", "--uts", "host"),
        ("--hostname", "boat", "--add-host", "shore:127.0.0.1", "--dns", "127.0.0.1"),
        ("--ulimit", "nofile=64:64", "--shm-size", "1m", "--sysctl", "net.ipv4.ip_forward=1"),
        ("-t",),
    ],
)
def test_S11_a_module_runs_with(docker: Tool, flags: tuple[str, ...]) -> None:
    assert docker.ok(*RUN, *flags, TOOLS, "echo", "well").rstrip() == "well"


def test_S11_a_terminal_is_the_modules_and_its_keys_are_signals(docker: Tool) -> None:
    with Terminal([*docker.command, *RUN, "-it", TOOLS, "stdin"], docker) as terminal:
        terminal.type(b"typed\n")
        terminal.until_seen(b"typed\r\ntyped\r\n")  # the terminal's echo, then the module's
        terminal.type(END_OF_FILE)
        assert terminal.wait() == 0
    with Terminal([*docker.command, *RUN, "-it", TOOLS, "tick"], docker) as terminal:
        terminal.until_seen(b"tick 0\r\n")
        terminal.type(INTERRUPT)
        assert terminal.wait() == 130


def test_S11_many_at_once(docker: Tool) -> None:
    runs = [docker.start(*RUN, "--network", "none", TOOLS, "exit", str(number)) for number in range(8)]
    for number, run in enumerate(runs):
        output = run.communicate(timeout=60)[0]
        assert run.returncode == number, output


def test_S11_what_uses_more_memory_than_it_may_is_killed(docker: Tool) -> None:
    assert docker(*RUN, "--memory", "64m", TOOLS, "echo", "well").stdout == "well\n"
    hungry = docker.ok(*DETACHED, "--memory", "64m", "--memory-swap", "64m", TOOLS, "grow", "4000").strip()
    assert docker.ok("wait", hungry) == "137\n"
    assert docker.ok("inspect", "-f", "{{.State.OOMKilled}}", hungry) == "true\n"


def test_S11_pause_update_restart_and_copy(docker: Tool, peers: Peers) -> None:
    docker.ok(*DETACHED, "--name", "box", TOOLS, "sleep", "100000")
    docker.ok("exec", "box", "/toolbox.wasm", "write", "/left", "here")
    docker.ok("pause", "box")
    assert docker.ok("inspect", "-f", "{{.State.Status}}", "box") == "paused\n"
    docker.ok("unpause", "box")
    docker.ok("update", "--memory", "128m", "--memory-swap", "256m", "box")
    limits = Path("/sys/fs/cgroup/memory", peers.name).glob("*/memory.limit_in_bytes")
    assert [limit.read_text() for limit in limits] == [f"{128 << 20}\n"]
    docker.ok("restart", "--time", "60", "box")
    tar = subprocess.run(
        [*docker.command, "cp", "box:/left", "-"], env=docker.env, capture_output=True, check=True
    )
    assert b"here" in tar.stdout


def test_S11_a_failing_one_is_started_again(docker: Tool) -> None:
    docker.ok(*DETACHED, "--name", "fails", "--restart", "on-failure:2", TOOLS, "exit", "3")

    def told() -> str:
        return docker.ok("inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "fails")

    until(lambda: told() == "2 exited 3\n")


def test_S11_what_is_not_there_is_said_and_nothing_stays(docker: Tool, peers: Peers) -> None:
    done = docker(*RUN, "--entrypoint", "/nothing.wasm", TOOLS)
    assert done.returncode == 127 and "nothing.wasm" in done.stderr
    assert docker.ok("ps", "-aq") == ""
    assert peers.cgroups() == []


def test_S3_a_relative_command_without_slash_and_executable_bit(docker: Tool) -> None:
    out = docker.ok(*RUN, RELATIVE)
    assert "\nwasi_example_main.wasm\nFile content is This is in a file\n" in out


def test_S4_an_image_that_brings_its_own_wasm_runtime_is_a_linux_container(docker: Tool) -> None:
    port = free_port()
    docker.ok(*DETACHED, "-p", f"127.0.0.1:{port}:80", "-e", "PORT=80", "--name", "carries", CARRIES)
    assert until(lambda: answer(port)) == "Hello from a Linux binary\n"
    assert docker.ok("logs", "carries") == "pid 1 serves /http-server.wasm\n"
    assert docker("exec", "carries", "wasmedge").returncode == 2
    assert docker(*RUN, LINUX, "/bin/sh", "-c", "exit 5").returncode == 5


def test_S15_a_linux_container_reaches_a_wasm_server_in_one_network_namespace(docker: Tool) -> None:
    docker.ok(*DETACHED, "--name", "web", WEB)
    wget = ("/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/")
    shared = ("--network", "container:web", LINUX)
    assert until(lambda: docker(*RUN, *shared, *wget).stdout) == "Hello, World!\n"
