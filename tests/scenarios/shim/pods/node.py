"""A node whose containerd serves CRI, and what a kubelet makes of a manifest there, by `crictl`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests import tools
from tests.scenarios.conftest import EXAMPLES, until
from tests.scenarios.oci.conftest import Tool
from tests.scenarios.oci.images import archive
from tests.scenarios.shim.conftest import CGROUPS, Host

from . import manifests

HANDLERS = {"crun": "sampan", "wasm": "wasmedge", "wasmtime": "wasmtime", "spin": "sampan"}
"""RuntimeClass handler -> the shim's name; `crun` is what the manifests call a runtime for both kinds."""
SERVER, HELLO, TOOLBOX = (
    EXAMPLES / "02-http-server" / "http-server.wasm",
    EXAMPLES / "01-hello" / "hello.wasm",
    EXAMPLES / "05-toolbox" / "toolbox.wasm",
)
_BUSYBOX = Path(shutil.which("busybox") or "/bin/busybox")
WEB, NGINX, DEMO, ANY_BINARY, SANDBOX = (
    "docker.io/cr7258/wasm-demo-app:v1",
    "docker.io/library/nginx:1.20",
    "docker.io/duizhang/wasi-demo-app:latest",
    "harbor.domain.dev/bifrost/hello-wasm2:v1",
    "localhost/sandbox:1",
)
TOOL, BUSYBOX = ("/wasi-demo-app.wasm",), ("/bin/busybox",)
FOREVER, SLEEP = ("sleep", "100000"), (*BUSYBOX, "sleep", "100000")
SERVE = "echo from Linux >/index.html; exec /bin/busybox httpd -f -p 80 -h /"
PLUGINS = "/usr/lib/cni"  # Debian's
KUBELETS = {
    "namespace_options": {"pid": 1}
}  # each container has its own pid namespace, unless a pod shares one
CPU_SHARES, MEMORY = 512, 256 << 20


def images(folder: Path) -> list[Path]:
    """Archives of the images that the manifests name, and of one for sandboxes, with nothing in it to be run."""
    return [
        archive(folder / "web", WEB, {"/http-server.wasm": SERVER, "/toolbox.wasm": TOOLBOX},
                Cmd=["/http-server.wasm"]),
        archive(folder / "nginx", NGINX, {"/bin/sh": _BUSYBOX, "/bin/busybox": _BUSYBOX}, mode=0o755,
                Cmd=["/bin/sh", "-c", SERVE]),
        archive(folder / "demo", DEMO, {"/wasi-demo-app.wasm": TOOLBOX}, Cmd=["/wasi-demo-app.wasm"]),
        archive(folder / "any", ANY_BINARY, {"hello-wasm": HELLO}, Cmd=["/hello-wasm"]),
        archive(folder / "sandbox", SANDBOX, {"/etc/none": b""}, Cmd=["/there-is-no-such-program"]),
    ]  # fmt: skip


class Node(Host):
    """A machine whose containerd serves CRI, with a CNI bridge of its own.

    Attributes:
        crictl: the command line tool. bridge: the network interface that pods hang on.
    """

    def __init__(self, folder: Path, containerd: Path | None) -> None:
        """
        Args:
            containerd: the folder of the programs of a containerd that is not Debian's.
        """
        self.bridge = folder.name
        super().__init__(folder)
        if containerd is not None:
            self.env["PATH"] = f"{containerd}:{self.env['PATH']}"
        address = {"CONTAINERD_ADDRESS": self.address, "CONTAINERD_NAMESPACE": "k8s.io"}
        self.ctr = Tool(["ctr"], {**address, "PATH": self.env["PATH"]})
        endpoint = f"unix://{self.address}"
        settings = folder / "crictl.yaml"
        settings.write_text(f"runtime-endpoint: {endpoint}\nimage-endpoint: {endpoint}\ntimeout: 30\n")
        self.crictl = Tool([f"{tools.tool('crictl')}/crictl", "--config", str(settings)], {})

    def _configure(self) -> None:
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        handlers = "".join(
            f'[{cri}.containerd.runtimes.{handler}]\nruntime_type = "io.containerd.{shim}.v1"\n'
            'pod_annotations = ["module.wasm.image/variant"]\n'
            for handler, shim in HANDLERS.items()
        )
        (self.folder / "config.toml").write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            f'[grpc]\naddress = "{self.address}"\n[ttrpc]\naddress = "{self.address}.ttrpc"\n'
            f'[debug]\naddress = "{self.folder}/d.sock"\nlevel = "debug"\n'
            f'[{cri}]\nsandbox_image = "{SANDBOX}"\nrestrict_oom_score_adj = true\n'
            "netns_mounts_under_state_dir = true\n"
            f'[{cri}.cni]\nbin_dir = "{PLUGINS}"\nconf_dir = "{self.folder}/cni"\n'
            f'[{cri}.containerd]\ndefault_runtime_name = "crun"\n{handlers}'
        )
        third = int.from_bytes(os.urandom(1))
        ranges = [[{"subnet": f"10.214.{third}.0/24"}]]
        address = {"type": "host-local", "dataDir": f"{self.folder}/ipam", "ranges": ranges}
        plugin = {"type": "bridge", "bridge": self.bridge, "isDefaultGateway": True, "ipam": address}
        (self.folder / "cni").mkdir()
        (self.folder / "cni" / "10-pods.conflist").write_text(
            json.dumps({"cniVersion": "0.4.0", "name": self.name, "plugins": [plugin]})
        )

    def start(self) -> None:
        super().start()
        assert self.daemon is not None
        self.daemon.wait_for(lambda: "NetworkReady" in self.crictl("info").stdout)

    def left(self) -> list[str]:
        """What containers left, and what pods did of their networks and folders."""
        links = subprocess.run(
            ["ip", "-o", "link", "show", "master", self.bridge], capture_output=True, text=True
        ).stdout.splitlines()
        addresses = (self.folder / "ipam").glob("*/10.*")
        folders = (self.folder / "state").glob("io.containerd.*cri*/sandboxes/*")
        return [*super().left(), *links, *map(str, addresses), *map(str, folders)]

    def zygotes(self) -> list[int]:
        """The pids of zygotes."""
        return [
            pid for pid in self._processes() if Path(f"/proc/{pid}/comm").read_text() == "sampan-zygote\n"
        ]

    def end_containerd(self, number: signal.Signals) -> None:
        """Sends containerd a signal that ends it."""
        assert self.daemon is not None
        self.daemon.process.send_signal(number)
        self.daemon.process.wait(30)
        self.daemon.log.close()
        self.daemon = None

    def close(self) -> None:
        """Ends containerd, and removes everything of this node."""
        if self.daemon is not None:
            self.crictl("rmp", "-af")
        close(self, self.bridge)

    def apply(self, name: str) -> Pod:
        """Runs what a manifest asks for, as a kubelet does: its pod, and all of its containers."""
        documents = manifests.read(name)
        handlers = {d["metadata"]["name"]: d["handler"] for d in documents if d["kind"] == "RuntimeClass"}
        workload = documents[-1]
        template = workload["spec"]["template"] if workload["kind"] == "Deployment" else workload
        metadata = {"name": workload["metadata"]["name"], **template["metadata"]}
        spec = template["spec"]
        pod = Pod(self, handlers[spec["runtimeClassName"]], **metadata)
        for container in spec["containers"]:
            pod.run(**container)
        return pod


def close(host: Host, bridge: str) -> None:
    """Removes a machine and its bridge, also where a test failed and its containers still run."""
    if host.daemon is not None:
        host.daemon.end()
    groups = [
        Path(group) for path in CGROUPS.glob(f"*/{host.name}") for group, _, _ in os.walk(path, topdown=False)
    ]
    inside = {int(pid) for group in groups for pid in (group / "cgroup.procs").read_text().split()}
    for pid in inside.union(host._processes()):
        try:
            if Path(f"/proc/{pid}/comm").read_text() != "sampan-zygote\n":  # that one ends by itself
                os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            pass
    until(lambda: not host._processes(), 30)
    for group in groups:  # the containers' parent, too, which is the kubelet's
        until(lambda procs=group / "cgroup.procs": not procs.read_text())
        group.rmdir()
    subprocess.run(["ip", "link", "delete", bridge], stderr=subprocess.DEVNULL)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if f"{host.folder}/" in line:
            subprocess.run(["umount", "-l", line.split()[1]], check=False)
    shutil.rmtree(host.folder, ignore_errors=True)


class Container:
    """A container of a pod. `log_path` is the file with its log."""

    def __init__(self, node: Node, container_id: str, log_path: Path) -> None:
        self.crictl = node.crictl
        self.id = container_id
        self.log_path = log_path

    def start(self) -> None:
        self.crictl.ok("start", self.id)

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.crictl.ok("inspect", self.id))["status"]
        return status

    @property
    def is_running(self) -> bool:
        return bool(self.status["state"] == "CONTAINER_RUNNING")

    @property
    def pid(self) -> int:
        return int(json.loads(self.crictl.ok("inspect", self.id))["info"]["pid"])

    def ending(self) -> tuple[int, str]:
        """Its exit code and the reason, once it has ended."""
        status = until(lambda: (s := self.status)["state"] == "CONTAINER_EXITED" and s)
        return status["exitCode"], status["reason"]

    def exec(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs another program in it, by the streams of Exec."""
        return self.crictl("exec", *(("-i",) if stdin is not None else ()), self.id, *words, stdin=stdin)

    def exec_sync(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same by ExecSync; crictl adds ends of lines."""
        return self.crictl("exec", "-s", self.id, *words)

    def lines(self, stream: str = "stdout") -> list[str]:
        """What it has logged in one stream, which must be in CRI's format."""
        found = []
        for line in self.log_path.read_text().splitlines():
            when, name, tag, text = line.split(" ", 3)
            assert when.startswith("20") and name in ("stdout", "stderr") and tag in ("F", "P"), line
            if name == stream:
                found.append(text)
        return found


class Pod:
    """A pod on a node, with its sandbox running."""

    def __init__(
        self, node: Node, handler: str, security: dict[str, Any] | None = None, **metadata: Any
    ) -> None:
        """
        Args:
            security: CRI's security context of the sandbox. metadata: as in a manifest.
        """
        self.node = node
        self.crictl = node.crictl
        uid = os.urandom(8).hex()
        self.name = metadata.setdefault("name", "pod")
        self.logs = node.folder / "logs" / f"default_{self.name}_{uid}"
        self._config = self._document(
            metadata={"name": self.name, "namespace": "default", "uid": uid},
            hostname=self.name,
            labels=metadata.get("labels", {}),
            annotations=metadata.get("annotations", {}),
            log_directory=str(self.logs),
            dns_config={"servers": ["10.96.0.10"], "searches": ["default.svc.cluster.local"]},
            linux={"cgroup_parent": f"/{node.name}", "security_context": {**KUBELETS, **(security or {})}},
        )
        self.id = self.crictl.ok("runp", "--runtime", handler, str(self._config)).strip()
        self.containers: dict[str, Container] = {}

    def create(self, name: str, image: str, command: tuple[str, ...] = (), **content: Any) -> Container:
        """Makes a container, with the fields of a manifest, or of CRI's configuration, that there are."""
        content.pop("imagePullPolicy", None)
        resources = content.pop("resources", {"cpu_shares": CPU_SHARES, "memory_limit_in_bytes": MEMORY})
        security = {**KUBELETS, **content.pop("security", {})}
        config = self._document(
            metadata={"name": name},
            image={"image": image},
            command=command,
            log_path=f"{name}/0.log",
            linux={"resources": resources, "security_context": security},
            **content,
        )
        container_id = self.crictl.ok("create", self.id, str(config), str(self._config)).strip()
        container = Container(self.node, container_id, self.logs / name / "0.log")
        self.containers[name] = container
        return container

    def run(self, name: str, image: str, command: tuple[str, ...] = (), **content: Any) -> Container:
        """Makes a container and starts it."""
        (self.logs / name).mkdir(parents=True, exist_ok=True)  # the kubelet does
        container = self.create(name, image, command, **content)
        container.start()
        return container

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.crictl.ok("inspectp", self.id))["status"]
        return status

    @property
    def ip(self) -> str:
        return str(self.status["network"]["ip"])

    @property
    def pid(self) -> int:
        """The pid of the sandbox's process."""
        return int(json.loads(self.crictl.ok("inspectp", self.id))["info"]["pid"])

    @property
    def server(self) -> int:
        """The pid of the shim's server, which is the parent of the sandbox's process."""
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[1])

    def remove(self) -> None:
        self.crictl.ok("rmp", "-f", self.id)

    def _document(self, **content: Any) -> Path:
        handle, path = tempfile.mkstemp(".json", dir=self.node.folder)
        with open(handle, "w") as file:
            json.dump(content, file)
        return Path(path)


N = TypeVar("N", bound=Node)


@contextmanager
def started(node: N, images: list[Path]) -> Iterator[N]:
    """A node that runs, with the images in containerd; at its end nothing may be left."""
    try:
        node.start()
        for image in images:
            node.ctr.ok("images", "import", str(image))
        yield node
        node.crictl("rmp", "-af")
        until(lambda: not node.left(), 15)
    finally:
        left = node.left()
        node.close()
    assert left == []
