"""A node with `sampan cri` in front of its containerd."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from tests import tools
from tests.scenarios.conftest import Daemon
from tests.scenarios.oci.conftest import Tool
from tests.scenarios.oci.images import archive
from tests.scenarios.shim.conftest import ROOT
from tests.scenarios.shim.pods.node import PLUGINS, SANDBOX, Node

PAUSE = "localhost/pause:1"


def pause(folder: Path) -> Path:
    """An archive of the image of a sandbox's process."""
    files = {"/bin/busybox": Path(shutil.which("busybox") or "/bin/busybox")}
    return archive(
        folder / "pause", PAUSE, files, mode=0o755, Entrypoint=["/bin/busybox", "sleep", "1000000"]
    )


class CriNode(Node):
    """A machine with containerd, and our server in front of it on roots of its own.

    Attributes:
        crictl: talks to our server. behind: talks to containerd itself. socket: where our server is.
        has_events: whether containerd tells events.
    """

    def __init__(
        self, folder: Path, containerd: Path | None, *, hosts: Path | None = None, pause: str = PAUSE
    ) -> None:
        """
        Args:
            containerd: as for `Node`. hosts: containerd's `certs.d`. pause: the image of sandboxes' processes.
        """
        self._hosts, self._pause = hosts, pause
        self.has_events = containerd is not None  # 1.6 has none
        super().__init__(folder, containerd)
        shutil.copy(ROOT / "scripts" / "sampan", folder / "bin" / "sampan")
        (folder / "cri").mkdir()
        self.socket = f"unix://{folder}/s.sock"
        self.upstream = f"unix://{self.address}"
        self.behind = self.crictl
        settings = folder / "crictl-sampan.yaml"
        settings.write_text(f"runtime-endpoint: {self.socket}\nimage-endpoint: {self.socket}\ntimeout: 30\n")
        self.crictl = Tool([f"{tools.tool('crictl')}/crictl", "--config", str(settings)], {})
        self.server: Daemon | None = None

    def _configure(self) -> None:
        """Its default runtime is runc, whose sandboxes have a process."""
        super()._configure()
        config = self.folder / "config.toml"
        text = config.read_text().replace(SANDBOX, self._pause)
        text = text.replace('runtime_name = "crun"', 'runtime_name = "runc"')
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        text += f'[{cri}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
        if self._hosts is not None:
            text += f'[{cri}.registry]\nconfig_path = "{self._hosts}"\n'
        config.write_text(text)
        network = self.folder / "cni" / "10-pods.conflist"
        document = json.loads(network.read_text())
        document["plugins"].append({"type": "portmap", "capabilities": {"portMappings": True}})
        network.write_text(json.dumps(document))

    def start(self) -> None:
        self.begin_containerd()
        self.serve()

    def begin_containerd(self) -> None:
        """Starts containerd; one that was killed comes back to what it left."""
        ours, self.crictl = self.crictl, self.behind  # what waits for it asks it
        super().start()
        self.crictl = ours

    def serve(self, *options: str) -> None:
        """Starts our server; one that was killed comes back to what it left."""
        command = ("cri", "--listen", self.socket, "--upstream", self.upstream, "--log-level", "debug")
        network = ("--cni-conf-dir", f"{self.folder}/cni", "--cni-bin-dir", PLUGINS)
        hosts = ("--hosts-dir", str(self._hosts or "/none"))
        self.server = Daemon(
            self.folder / "cri", [f"{self.folder}/bin/sampan", *command, *network, *hosts, *options], self.env
        )
        self.server.wait_for(lambda: self.crictl("version").returncode == 0)

    def end_server(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends our server a signal that ends it; its exit code."""
        assert self.server is not None
        self.server.process.send_signal(number)
        code: int = self.server.process.wait(30)
        self.server.log.close()
        self.server = None
        return code

    def log_of_server(self) -> str:
        return (self.folder / "cri" / "log").read_text(errors="replace")

    def status(self) -> dict[str, Any]:
        """What `crictl info` says."""
        document: dict[str, Any] = json.loads(self.crictl.ok("info"))
        return document

    def left(self) -> list[str]:
        server = f"{self.server.process.pid} " if self.server is not None else "none"
        pods = [*(self.folder / "data" / "pods").glob("*"), *(self.folder / "run" / "pods").glob("*")]
        return [*(one for one in super().left() if not one.startswith(server)), *map(str, pods)]

    def close(self) -> None:
        if self.server is not None:
            if self.daemon is not None:
                self.crictl("rmp", "-af")
            self.end_server()
        super().close()
