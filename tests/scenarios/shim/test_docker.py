"""S11 and what else people do with Docker, whose `--runtime` names the shim: nothing is configured for it.

Docker takes a shim's name since 23.0. Debian's 20.10 knows only the names of OCI runtimes in its configuration, and
says "Unknown runtime specified"; there `sampan-oci` is the runtime.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.scenarios.conftest import Daemon, free_port, needs, until
from tests.scenarios.oci.conftest import Terminal, Tool, answer, says_hello

from .conftest import HELLO, RUNTIMES, TOOLS, WEB, Host
from .pods.node import close

pytestmark = [*tools.needs("docker29", "containerd2"), needs("docker", "runc", "ip", "busybox")]
SHIM = "--runtime=io.containerd.sampan.v1"
OLD_CLIENTS = {
    "DOCKER_MIN_API_VERSION": "1.24"
}  # Debian's command line speaks an older one than the daemon's least


class DockerHost(Host):
    """A machine with a current Docker, and a bridge of its own."""

    def __init__(self, folder: Path, programs: list[Path]) -> None:
        super().__init__(folder)
        self.env = {**self.env, **OLD_CLIENTS}
        self.env["PATH"] = ":".join([*map(str, programs), self.env["PATH"]])
        self.docker = Tool(
            ["docker"], {"DOCKER_HOST": f"unix://{folder}/d.sock", "DOCKER_CONFIG": f"{folder}/config"}
        )

    def _configure(self) -> None:
        (self.folder / "empty.json").write_text("{}")

    def start(self) -> None:
        """Starts dockerd, which starts its own containerd."""
        folder = self.folder
        command = [
            "dockerd", "--data-root", f"{folder}/docker", "--exec-root", f"{folder}/exec", "-H", f"unix://{folder}/d.sock",
            "-p", f"{folder}/pid", "--iptables=false", "--ip6tables=false", f"--bridge={self.name}",
            "--cgroup-parent", f"/{self.name}", "--config-file", f"{folder}/empty.json", "--live-restore",
        ]  # fmt: skip
        self.daemon = Daemon(
            folder, [shutil.which(command[0], path=self.env["PATH"]), *command[1:]], self.env
        )
        self.daemon.wait_for(lambda: self.docker("version").returncode == 0)

    def make_bridge(self) -> None:
        third = int.from_bytes(os.urandom(1))
        for words in (
            ["link", "add", self.name, "type", "bridge"],
            ["address", "add", f"10.215.{third}.1/24", "dev", self.name],
            ["link", "set", self.name, "up"],
        ):
            subprocess.run(["ip", *words], check=True)

    def left(self) -> list[str]:
        own = (" dockerd", f" {self.folder}/docker ", f" {self.folder}/exec/netns/default ")
        return [entry for entry in super().left() if not any(words in entry for words in own)]


@pytest.fixture(scope="module")
def machine(shim_images: list[Path]) -> Iterator[DockerHost]:
    folder = Path(f"/tmp/dkr-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    found = [tools.tool("docker29"), tools.tool("containerd2")]
    machine = DockerHost(folder, [programs for programs in found if programs is not None])
    try:
        machine.make_bridge()
        machine.start()
        for image in shim_images:
            machine.docker.ok("load", "-i", str(image))
        yield machine
        until(lambda: not machine.left(), 15)
    finally:
        left = machine.left()
        close(machine, machine.name)
    assert left == []


@pytest.fixture
def docker(machine: DockerHost) -> Tool:
    return machine.docker


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_S11_a_servers_port_is_published(docker: Tool, runtime: str) -> None:
    port = free_port()
    shim = f"--runtime=io.containerd.{runtime}.v1"
    docker.ok("run", "-d", "-p", f"{port}:8080", "--name=wasm-demo-app", shim, WEB)
    assert says_hello(port)
    docker.ok("rm", "-f", "wasm-demo-app")
    assert answer(port) == ""
    assert docker.ok("ps", "-aq") == ""


@pytest.mark.parametrize("code", [0, 42])
def test_the_exit_code_is_dockers(docker: Tool, code: int) -> None:
    assert docker("run", "--rm", SHIM, TOOLS, "exit", str(code)).returncode == code


def test_output_input_and_logs(docker: Tool) -> None:
    assert "Hello, World!" in docker.ok("run", "--rm", SHIM, HELLO)
    done = docker("run", "--rm", SHIM, TOOLS, "stderr", "oops")
    assert (done.stdout, done.stderr) == ("", "oops\n")
    assert docker.ok("run", "--rm", "-i", SHIM, TOOLS, "stdin", stdin="words\n") == "words\n"
    name = docker.ok("run", "-d", SHIM, TOOLS, "tick", "3", "1").strip()
    assert docker.ok("wait", name) == "0\n"
    assert docker.ok("logs", name).splitlines() == ["tick 0", "tick 1", "tick 2"]
    docker.ok("rm", name)


def test_a_terminal(docker: Tool) -> None:
    words = ["docker", "run", "--rm", "-it", SHIM, TOOLS, "stdin"]
    with Terminal(words, docker) as terminal:
        terminal.type(b"words\n")
        terminal.until_seen(b"words\r\nwords\r\n")
        terminal.type(b"\4")
        assert terminal.wait() == 0


def test_a_life_of_exec_pause_stats_and_stop(docker: Tool) -> None:
    docker.ok("run", "-d", "--name", "life", "--memory", "256m", SHIM, TOOLS, "sleep", "100000")
    assert docker.ok("exec", "life", "/toolbox.wasm", "echo", "ahoy") == "ahoy\n"
    assert docker("exec", "life", "/toolbox.wasm", "exit", "42").returncode == 42
    docker.ok("pause", "life")
    assert docker.ok("inspect", "-f", "{{.State.Status}}", "life") == "paused\n"
    docker.ok("unpause", "life")
    stats = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", "life"))
    assert int(stats["PIDs"]) >= 1 and not stats["MemUsage"].startswith("0B")
    docker.ok("update", "--memory", "128m", "--memory-swap", "128m", "life")
    docker.ok("stop", "-t", "60", "life")
    assert docker.ok("inspect", "-f", "{{.State.ExitCode}}", "life") == "143\n"
    docker.ok("start", "life")
    assert docker.ok("inspect", "-f", "{{.State.Running}}", "life") == "true\n"
    docker.ok("rm", "-f", "life")


def test_a_memory_limit_is_told_as_such(docker: Tool) -> None:
    docker("run", "--name", "grows", "--memory", "64m", SHIM, TOOLS, "grow", "4096")
    state = json.loads(docker.ok("inspect", "-f", "{{json .State}}", "grows"))
    assert (state["ExitCode"], state["OOMKilled"]) == (137, True)
    docker.ok("rm", "grows")


def test_a_killed_daemon_comes_back_to_its_containers(machine: DockerHost) -> None:
    docker = machine.docker
    docker.ok("run", "-d", "--name", "stays", SHIM, TOOLS, "tick", "100000", "20")
    docker.ok("run", "-d", "--name", "ends", SHIM, TOOLS, "sleep", "2")
    (containerd,) = (
        pid for pid in machine._processes() if Path(f"/proc/{pid}/comm").read_text() == "containerd\n"
    )
    machine.kill()
    os.kill(containerd, signal.SIGKILL)
    until(lambda: len(machine.servers()) == 2 and not Path(f"/proc/{containerd}").exists())
    machine.start()
    until(lambda: docker.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ends") == "exited 0\n")
    assert docker.ok("inspect", "-f", "{{.State.Status}}", "stays") == "running\n"
    docker.ok("rm", "-f", "stays", "ends")
