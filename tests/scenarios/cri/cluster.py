"""A Kubernetes of one node: Debian's etcd and containerd, the control plane and kubelet that `tests.tools` builds.

All of it runs in an enclosure and ends by pid. The kubelet talks to `sampan cri`, which has containerd behind it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import tools
from tests.scenarios.conftest import Daemon, until
from tests.scenarios.oci.conftest import Tool
from tests.scenarios.prefix import install

from . import configuration, credentials
from .configuration import ADDRESS, NODE, PLUGINS, REGISTRY
from .enclosure import Enclosure

ROOT = Path(__file__).parents[3]
PROGRAMS = (
    "etcd", "containerd", "runc", "busybox", "docker-registry", "skopeo", "ip", "iptables", "nsenter", "unshare",
    f"{PLUGINS}/bridge", f"{PLUGINS}/portmap",
)  # fmt: skip
HANDLERS = ("wasm", "wasmrun", "wasmedge", "wasmtime", "crun")
READY = '{.status.conditions[?(@.type=="Ready")].status}'
FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"


class Cluster:
    """
    Attributes:
        kubectl: the command line tool. enclosure: where all runs. data, run: the roots of `sampan cri`.
    """

    def __init__(self, folder: Path, containerd: Path | None = None, gates: tuple[str, ...] = ()) -> None:
        """
        Args:
            folder: a short path: those of sockets are bounded. containerd: the folder of the programs of one that is
                not Debian's. gates: features of the kubelet that are not on by themselves.
        """
        programs = tools.tool("kubernetes")
        assert programs is not None
        self.folder, self._programs, self._gates = folder, programs, gates
        before = f"{containerd}:" if containerd is not None else ""
        self._path = f"{before}{folder}/bin:{os.environ['PATH']}"
        self.data, self.run = folder / "sampan", folder / "run"
        self.upstream = f"unix://{folder}/containerd.sock"
        self.endpoint = f"unix://{folder}/sampan.sock"
        self._daemons: dict[str, Daemon] = {}
        credentials.write(folder)
        configuration.network(folder)
        install(self.folder, [ROOT / "scripts" / "sampan"])
        self.data.mkdir(mode=0o700)
        self.enclosure = Enclosure(folder, ADDRESS)
        self.kubectl = Tool(
            self.enclosure.command(f"{programs}/kubectl", "--kubeconfig", f"{folder}/kubeconfig"),
            {"HOME": str(folder)},
        )

    def start(self, images: dict[str, Path]) -> None:
        """Starts everything, and puts images (archives by name) into the registry; the node is ready at the end."""
        folder = self.folder
        self._begin("registry", "docker-registry", "serve", configuration.registry(folder))
        self._begin("etcd", "etcd", *configuration.etcd(folder))
        self._begin_program("kube-apiserver", *configuration.apiserver(folder))
        for name, image in images.items():
            self._push(name, image)
        until(lambda: self.kubectl("get", "--raw", "/readyz").stdout == "ok", 120)
        self._begin_program("kube-controller-manager", *configuration.controllers(folder))
        self._begin_program("kube-scheduler", *configuration.scheduler(folder))
        self.begin_containerd()
        self.begin_sampan()
        kubelet = configuration.kubelet(folder, self.endpoint, self.enclosure.name, self._gates)
        self._begin_program("kubelet", *kubelet)
        until(lambda: self.kubectl("get", "node", NODE, "-o", f"jsonpath={READY}").stdout == "True", 60)
        until(lambda: self.kubectl("get", "serviceaccount", "default").returncode == 0, 60)

    def begin_containerd(self) -> None:
        """Starts containerd, also after a `kill`."""
        socket = self.folder / "containerd.sock"
        socket.unlink(missing_ok=True)
        daemon = self._begin("containerd", "containerd", "--config", configuration.containerd(self.folder))
        daemon.wait_for(socket.is_socket)

    def begin_sampan(self) -> None:
        """Starts our server, also after a `kill`."""
        handlers = [word for handler in HANDLERS for word in ("--handler", f"{handler}=wasmtime")]
        command = ("cri", "--listen", self.endpoint, "--upstream", self.upstream, *handlers)
        network = ("--cni-conf-dir", f"{self.folder}/cni", "--cni-bin-dir", PLUGINS)
        daemon = self._begin("sampan", f"{self.folder}/bin/sampan", *command, *network)
        daemon.wait_for(lambda: "serving at" in self.log("sampan"))

    def kill(self, name: str) -> None:
        """Kills a daemon, which has no time to do anything about it."""
        daemon = self._daemons.pop(name)
        daemon.process.kill()
        daemon.process.wait()
        daemon.log.close()

    def log(self, name: str) -> str:
        """What a daemon has written."""
        return (self.folder / "daemons" / name / "log").read_text(errors="replace")

    def apply(self, *documents: dict[str, Any]) -> None:
        """Makes objects of the API."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl.ok("apply", "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object; {} where there is none."""
        out = self.kubectl("get", kind, name, "-o", "json").stdout
        found: dict[str, Any] = json.loads(out) if out else {}
        return found

    def fetch(self, url: str) -> str:
        """What a server inside answers, "" where there is none."""
        command = self.enclosure.command(sys.executable, "-c", FETCH, url)
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    def containerd_tasks(self) -> set[str]:
        """The ids of the containers that run in containerd."""
        address = ("--address", self.upstream.removeprefix("unix://"), "--namespace", "k8s.io")
        return set(self.enclosure.run("ctr", *address, "tasks", "ls", "--quiet").split())

    def background(self, name: str, *words: str) -> Daemon:
        """A `kubectl` that goes on until `end`, its output in `log(name)`."""
        return self._begin(name, *self.kubectl.command, *words, enclosed=False)

    def end(self, name: str) -> None:
        """Ends a daemon."""
        self._daemons.pop(name).end()

    def left(self) -> list[str]:
        """What pods left: cgroups, mounts, links, addresses, folders."""
        folders = [self.folder / "logs", self.data / "pods", self.data / "containers", self.run / "pods"]
        kept = [path for folder in folders for path in folder.glob("[!.]*")]
        addresses = (self.folder / "ipam").glob("*/10.*")
        classes = ("burstable", "besteffort")
        groups = [path for path in self.enclosure.cgroups("kubepods") if path.name not in classes]
        links = [
            line for line in self.enclosure.run("ip", "-o", "link").splitlines() if "master cni0" in line
        ]
        mounts = [
            mount for mount in self.enclosure.mounts(str(self.folder)) if mount != f"{self.folder}/kubelet"
        ]
        return [*map(str, [*kept, *addresses, *groups]), *links, *mounts]

    def close(self) -> None:
        """Ends everything, the kubelet first, and removes it."""
        try:
            for name in reversed(list(self._daemons)):
                self.end(name)
        finally:
            self.enclosure.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _push(self, name: str, image: Path) -> None:
        repository = name.partition("/")[2]
        target = f"docker://{REGISTRY}/{repository}"
        until(lambda: self.fetch(f"http://{REGISTRY}/v2/") == "{}")
        self.enclosure.run(
            "skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{image}", target
        )

    def _begin_program(self, name: str, *options: str) -> None:
        self._begin(name, f"{self._programs}/{name}", *options)

    def _begin(self, name: str, *command: str, enclosed: bool = True) -> Daemon:
        folder = self.folder / "daemons" / name
        folder.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": self._path,
            "HOME": str(self.folder),
            "SAMPAN_ROOT": str(self.data),
            "SAMPAN_RUN_ROOT": str(self.run),
            "SAMPAN_REGISTRIES": f"{self.folder}/registries.toml",
            "SAMPAN_ZYGOTE_IDLE": "5",
        }
        words = self.enclosure.command(*command) if enclosed else list(command)
        self._daemons[name] = Daemon(folder, words, env)
        return self._daemons[name]
