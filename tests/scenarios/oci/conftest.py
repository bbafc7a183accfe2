"""containerd, dockerd and podman with `sampan-oci` as their runtime, on private roots, sockets and cgroups.

One of each serves a module's tests; at its end nothing of it may be left. What people type stays as they type it: the
addresses are in the environment.
"""

from __future__ import annotations

import http.client
import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import EXAMPLES, Daemon, until

from .images import archive

START = Path(__file__).parents[3] / "src" / "sampan" / "doors" / "oci" / "__main__.py"
SERVER = EXAMPLES / "02-http-server" / "http-server.wasm"
TOOLBOX = EXAMPLES / "05-toolbox" / "toolbox.wasm"
EXAMPLE = EXAMPLES / "06-wasi-example" / "wasi-example.wasm"
CGROUPS = Path("/sys/fs/cgroup")
INTERRUPT, END_OF_FILE = b"\x03", b"\x04"
WEB, TOOLS, RELATIVE, LINUX, CARRIES = (
    f"localhost/{name}:1" for name in ("web", "toolbox", "relative", "busybox", "carries-its-runtime")
)


class Tool:
    """A command line of a container tool, with its environment and its working directory."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path | None = None) -> None:
        self.command = command
        self.cwd = cwd
        self.env = {"PATH": os.environ["PATH"], "HOME": "/root", **env}

    def __call__(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words],
            input=stdin,
            env=self.env,
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=90,
        )

    def ok(self, *words: str, stdin: str | None = None) -> str:
        """What it prints, when it must go well."""
        done = self(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts it; the caller waits for it."""
        return subprocess.Popen(
            [*self.command, *words],
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


class Terminal:
    """A terminal with a tool's command line in it."""

    def __init__(self, command: list[str], tool: Tool) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            command,
            env=tool.env,
            cwd=tool.cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def until_seen(self, text: bytes) -> None:
        """Waits until all this was printed."""
        while text not in self._seen:
            ready, _, _ = select.select([self._master], [], [], 30)
            assert ready, self._seen
            self._seen += os.read(self._master, 4096)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(60)


class Peers:
    """Where a module's daemons live.

    Attributes:
        folder: a short path: those of sockets are bounded. name: of all that has a name on the whole machine.
        runtime: the launcher of `sampan-oci`, with data and compiled code of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.runtime = folder / "sampan-oci"
        (folder / "data").mkdir(mode=0o700)
        start = f"exec {sys.executable} -I -S {START}"
        self.runtime.write_text(f'#!/bin/sh\nexport SAMPAN_ROOT={folder}/data\n{start} "$@"\n')
        self.runtime.chmod(0o755)

    def cgroups(self) -> list[str]:
        """The containers' cgroups that there are."""
        return [str(path) for path in CGROUPS.glob(f"*/{self.name}/*/")]

    def left(self) -> list[str]:
        """Processes, mounts and cgroups of the module that are left."""
        mounts = [
            line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.folder) in line
        ]
        return [*self._processes(), *mounts, *self.cgroups()]

    def _processes(self) -> list[str]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:  # it ended in between
                continue
            if str(self.folder).encode() in line + environment:
                found.append(f"{pid} {line!r}")
        return found


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    folder = Path(f"/tmp/sp-{os.urandom(4).hex()}")  # the name serves as containerd's namespace, too
    folder.mkdir(mode=0o700)
    peers = Peers(folder)
    try:
        yield peers
        until(lambda: not peers.left(), 10)
    finally:
        left = peers.left()
        for cgroup in CGROUPS.glob(f"*/{peers.name}"):  # the tools leave their containers' parent
            cgroup.rmdir()
        shutil.rmtree(folder, ignore_errors=True)
    assert left == []


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The scenarios' images: Wasm ones, one of Linux, and one of Linux that brings a Wasm runtime along."""
    folder = tmp_path_factory.mktemp("archives")
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    carried = {"/usr/bin/wasmedge": _slim_runtime(folder), "/http-server.wasm": SERVER}
    command = ["wasmedge", "--dir", ".:/", "/http-server.wasm"]
    tools = {"/toolbox.wasm": TOOLBOX, "/wasi_example_main.wasm": EXAMPLE}
    return [
        archive(folder / "web", WEB, {"/http-server.wasm": SERVER}, Cmd=["/http-server.wasm"]),
        archive(folder / "tools", TOOLS, tools, Entrypoint=["/toolbox.wasm"], Cmd=["args"]),
        archive(
            folder / "relative", RELATIVE, {"wasi_example_main.wasm": EXAMPLE}, Cmd=["wasi_example_main.wasm"]
        ),
        archive(
            folder / "linux",
            LINUX,
            {"/bin/sh": busybox, "/bin/busybox": busybox},
            mode=0o755,
            Cmd=["/bin/sh"],
        ),
        archive(folder / "carries", CARRIES, carried, mode=0o755, Cmd=command),
    ]


def _slim_runtime(folder: Path) -> Path:
    out = folder / "slim-runtime"
    compiler = [shutil.which("cc")] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
    source = Path(__file__).with_name("slim-runtime.c")
    target = [] if shutil.which("cc") else ["-target", "x86_64-linux-musl"]
    subprocess.run([*compiler, *target, "-static", "-O2", "-s", "-o", out, source], check=True)
    return out


@pytest.fixture(scope="module")
def ctr(peers: Peers, archives: list[Path]) -> Iterator[Tool]:
    """`ctr`, talking to a containerd of its own, with the images and a namespace of its own."""
    folder = peers.folder
    address = f"{folder}/c.sock"
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{address}"\n[ttrpc]\naddress = "{address}.ttrpc"\n[debug]\naddress = "{folder}/d.sock"\n'
    )
    daemon = Daemon(folder, ["containerd", "--config", str(folder / "config.toml")])
    ctr = Tool(["ctr"], {"CONTAINERD_ADDRESS": address, "CONTAINERD_NAMESPACE": peers.name})
    try:
        daemon.wait_for(lambda: ctr("version").returncode == 0)
        for image in archives:
            ctr.ok("images", "import", str(image))
        yield ctr
        for container in ctr.ok("container", "ls", "-q").split():
            ctr("task", "rm", "-f", container)
            ctr.ok("container", "rm", container)
    finally:
        daemon.end()
        shutil.rmtree(f"/run/containerd/runc/{peers.name}", ignore_errors=True)


@pytest.fixture(scope="module")
def docker(peers: Peers, archives: list[Path]) -> Iterator[Tool]:
    """`docker`, talking to a dockerd of its own, whose runtime `sampan` is ours."""
    folder = peers.folder
    (folder / "empty.json").write_text("{}")
    address = f"unix://{folder}/d.sock"
    bridge = peers.name
    daemon = None
    docker = Tool(["docker"], {"DOCKER_HOST": address, "DOCKER_CONFIG": f"{folder}/config"})
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    try:
        third = int.from_bytes(os.urandom(1))
        subprocess.run(["ip", "address", "add", f"10.213.{third}.1/24", "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        daemon = Daemon(
            folder,
            ["dockerd", "--data-root", f"{folder}/data-root", "--exec-root", f"{folder}/exec", "-H", address,
             "-p", f"{folder}/pid", "--iptables=false", "--ip6tables=false", f"--bridge={bridge}",
             "--cgroup-parent", f"/{peers.name}", "--oom-score-adjust", "0",
             "--config-file", f"{folder}/empty.json", "--add-runtime", f"sampan={peers.runtime}"],
        )  # fmt: skip
        daemon.wait_for(lambda: docker("version").returncode == 0)
        for image in archives:
            docker.ok("load", "-i", str(image))
        yield docker
        for container in docker.ok("ps", "-aq").split():
            docker.ok("rm", "-f", container)
    finally:
        if daemon is not None:
            daemon.end()
        subprocess.run(["ip", "link", "delete", bridge], check=True)


@pytest.fixture(scope="module")
def podman(peers: Peers, archives: list[Path]) -> Iterator[Tool]:
    """`podman` with a storage of its own, whose runtime is ours."""
    folder = peers.folder
    settings = folder / "containers.conf"
    settings.write_text(
        '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\n'
        f'cgroupns = "private"\n[network]\nnetwork_config_dir = "{folder}/networks"\n'
    )
    podman = Tool(
        ["podman", "--runtime", str(peers.runtime), "--root", f"{folder}/root", "--runroot", f"{folder}/run",
         "--tmpdir", f"{folder}/tmp", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs",
         "--events-backend", "file"],
        {"CONTAINERS_CONF": str(settings)},
        folder,  # conmon leaves a file named oom where it was started
    )  # fmt: skip
    try:
        for image in archives:
            podman.ok("load", "-i", str(image))
        yield podman
        podman.ok("pod", "rm", "-af", "-t", "0")
        podman.ok("rm", "-af", "-t", "0")
        assert list(CGROUPS.glob("*/libpod_parent/libpod-*")) == []
    finally:
        subprocess.run(["umount", f"{folder}/root/overlay"], stderr=subprocess.DEVNULL)
        for parent in CGROUPS.glob("*/libpod_parent"):  # podman leaves its own
            for cgroup, _, _ in os.walk(parent, topdown=False):
                Path(cgroup).rmdir()


def answer(port: int, seconds: float = 5, address: str = "127.0.0.1") -> str:
    """What a server answers within so many seconds, "" when there is none."""
    connection = http.client.HTTPConnection(address, port, timeout=seconds)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def says_hello(port: int) -> bool:
    """Waits until the scenarios' server answers, as S1 says."""
    return until(lambda: answer(port)) == "Hello, World!\n"
