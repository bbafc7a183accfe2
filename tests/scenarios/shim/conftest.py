"""Debian's containerd with the shim as pip would install it, on roots, sockets and a namespace of its own.

One serves a module's tests; at its end nothing of it may be left: processes, mounts, cgroups, the shim's own files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import EXAMPLES, Daemon, until
from tests.scenarios.oci.conftest import Tool
from tests.scenarios.oci.images import archive
from tests.scenarios.prefix import install

ROOT = Path(__file__).parents[3]
CGROUPS = Path("/sys/fs/cgroup")
RUNTIMES = ("sampan", "wasmedge", "wasmtime", "wasmer", "wamr")
HELLO, TOOLS, WEB, LINUX = (f"localhost/{name}:1" for name in ("hello", "toolbox", "web", "busybox"))


class Host:
    """A machine with containerd and the shim, as far as the tests share it.

    Attributes:
        folder: a short path: those of sockets are bounded. name: containerd's namespace, and the parent of cgroups.
        ctr: the command line tool. run: the shim's run root.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.run = folder / "run"
        self.address = f"{folder}/c.sock"
        install(folder, (ROOT / "scripts").glob("containerd-shim-*"))
        (folder / "data").mkdir(mode=0o700)
        self._configure()
        self.env = {
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "HOME": "/root",
            "SAMPAN_ROOT": f"{folder}/data",
            "SAMPAN_RUN_ROOT": str(self.run),
            "SAMPAN_ZYGOTE_IDLE": "5",
        }
        self.ctr = Tool(["ctr"], {"CONTAINERD_ADDRESS": self.address, "CONTAINERD_NAMESPACE": self.name})
        self.daemon: Daemon | None = None

    def _configure(self) -> None:
        (self.folder / "config.toml").write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.address}"\n[ttrpc]\naddress = "{self.address}.ttrpc"\n'
            f'[debug]\naddress = "{self.folder}/d.sock"\nlevel = "debug"\n'
        )

    def start(self) -> None:
        """Starts containerd; one that was killed comes back to what it left."""
        command = ["containerd", "--config", str(self.folder / "config.toml")]
        self.daemon = Daemon(self.folder, command, self.env)
        self.daemon.wait_for(lambda: self.ctr("version").returncode == 0)

    def kill(self) -> None:
        """Kills containerd, which has no time to do anything about it."""
        assert self.daemon is not None
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.daemon.log.close()
        self.daemon = None

    def task(
        self, *words: str, name: str = "", runtime: str = "sampan", flags: tuple[str, ...] = ()
    ) -> list[str]:
        """The words of `ctr run` for a container."""
        image, *args = words
        cgroup = ("--cgroup", f"/{self.name}/{name}") if name else ()
        return [
            "run",
            *flags,
            *cgroup,
            "--runtime",
            f"io.containerd.{runtime}.v1",
            image,
            name or f"c{time.time_ns()}",
            *args,
        ]

    def begin(self, name: str, image: str, *args: str, flags: tuple[str, ...] = ()) -> str:
        """Starts a task that stays; its container's name."""
        self.ctr.ok(*self.task(image, *args, name=name, flags=("-d", *flags)))
        return name

    def end(self, name: str) -> None:
        """Removes a container, whatever it does."""
        self.ctr("task", "kill", "--signal", "SIGKILL", name)
        until(lambda: self.tasks().get(name, "STOPPED") in ("STOPPED", "CREATED"))
        self.ctr("task", "rm", "-f", name)
        self.ctr.ok("container", "rm", name)

    def tasks(self) -> dict[str, str]:
        """Name -> status, as `ctr task ls` shows them."""
        return {line.split()[0]: line.split()[2] for line in self.ctr.ok("task", "ls").splitlines()[1:]}

    def pid(self, name: str) -> int:
        """The pid of a task's first process."""
        lines = self.ctr.ok("task", "ls").splitlines()[1:]
        return next(int(line.split()[1]) for line in lines if line.split()[0] == name)

    def servers(self) -> list[int]:
        """The pids of the shim's servers."""
        return [pid for pid in self._processes() if _comm(pid) == "sampan-shim"]

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def left(self) -> list[str]:
        """Processes, mounts, cgroups and the shim's files that are left of containers."""
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        shim = self.run / "shim"
        return [
            *(
                f"{pid} {_comm(pid)}"
                for pid in self._processes()
                if _comm(pid) not in ("containerd", "sampan-zygote")
            ),
            *(line for line in mounts if f"{self.folder}/" in line),
            *(str(path) for path in CGROUPS.glob(f"*/{self.name}/*/")),
            *(str(path) for path in (shim.iterdir() if shim.is_dir() else ())),
        ]

    def _processes(self) -> list[int]:
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:  # it ended in between
                continue
            if f"{self.folder}/".encode() in environment + line and pid != os.getpid():
                found.append(pid)
        return found


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def shim_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shim-images")
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    hello, toolbox, server = (
        EXAMPLES / "01-hello" / "hello.wasm",
        EXAMPLES / "05-toolbox" / "toolbox.wasm",
        EXAMPLES / "02-http-server" / "http-server.wasm",
    )
    linux = {"/bin/sh": busybox, "/bin/busybox": busybox}
    return [
        archive(folder / "hello", HELLO, {"/hello.wasm": hello}, Cmd=["/hello.wasm"]),
        archive(folder / "tools", TOOLS, {"/toolbox.wasm": toolbox, "/wasi-demo-app.wasm": toolbox},
                Entrypoint=["/toolbox.wasm"], Cmd=["args"]),
        archive(folder / "web", WEB, {"/http-server.wasm": server}, Cmd=["/http-server.wasm"]),
        archive(folder / "linux", LINUX, linux, mode=0o755, Cmd=["/bin/sh"]),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def host(shim_images: list[Path]) -> Iterator[Host]:
    folder = Path(f"/tmp/sh-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    host = Host(folder)
    try:
        host.start()
        for image in shim_images:
            host.ctr.ok("images", "import", str(image))
        yield host
        until(lambda: not host.left(), 15)
    finally:
        left = host.left()
        if host.daemon is not None:
            host.daemon.end()
        until(lambda: not host._processes(), 30)
        for cgroup in CGROUPS.glob(f"*/{host.name}"):  # ctr's own
            cgroup.rmdir()
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["umount", "-l", str(folder)], stderr=subprocess.DEVNULL)
    assert left == []
