"""`sampan cri` beside containerd's CRI with runc: a hello, many pods at once, and a server that is killed.

    python bench/cri.py

Both get the same calls over the same client, with the same network; containerd is behind us as it would be on a node.
The peer's programs are native and static. BIN names the folder with `sampan`, as pip installed it; PODS how many pods
there are at once.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import native
from figures import ROUNDS, interleaved, memory_of, show

from sampan.doors.cri.api import runtime_pb2 as cri

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.scenarios.cri import configuration  # noqa: E402
from tests.scenarios.cri.enclosure import Enclosure  # noqa: E402
from tests.scenarios.oci.images import archive  # noqa: E402

BIN = os.environ.get("BIN") or str(Path(sys.executable).parent)
EXAMPLES = ROOT / "examples"
PODS = int(os.environ.get("PODS", "250"))
AT_ONCE = 8
HANDLERS = {"containerd": "", "sampan": "wasm"}


class Client:
    """The calls of RuntimeService, by name, at a socket."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def __call__(self, name: str, request: Any, response: Any) -> Any:
        call = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(request, timeout=120, wait_for_ready=True)

    def close(self) -> None:
        self._channel.close()


class Node:
    """A containerd and a `sampan cri` before it, each with a client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.enclosure = Enclosure(folder, configuration.ADDRESS)
        configuration.network(folder)
        configuration.registry(folder)
        (folder / "data").mkdir(mode=0o700)
        roots = {"SAMPAN_ROOT": f"{folder}/data", "SAMPAN_RUN_ROOT": f"{folder}/run"}
        self.env = {**os.environ, **roots}
        self.sockets = {name: folder / f"{name}.sock" for name in HANDLERS}
        network = ["--cni-conf-dir", f"{folder}/cni", "--cni-bin-dir", configuration.PLUGINS]
        upstream = f"unix://{self.sockets['containerd']}"
        self._commands = {
            "containerd": ["containerd", "--config", configuration.containerd(folder)],
            "sampan": [f"{BIN}/sampan", "cri", "--listen", f"unix://{self.sockets['sampan']}",
                       "--upstream", upstream, "--handler", "wasm=wasmtime", *network],
        }  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in self._commands:
            self.start(name)
        self.clients = {name: Client(socket) for name, socket in self.sockets.items()}
        self._made = 0

    def start(self, name: str) -> None:
        """Starts a server, which answers at the end."""
        log = (self.folder / f"{name}.log").open("ab")
        command = self.enclosure.command(*self._commands[name])
        self._processes[name] = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        log.close()
        client = Client(self.sockets[name])
        while not _answers(client):
            time.sleep(0.002)
        client.close()

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def load(self, name: str, image: Path) -> None:
        ctr = ["ctr", "--address", str(self.sockets["containerd"]), "-n", "k8s.io", "images", "import"]
        words = {
            "containerd": [*ctr, str(image)],
            "sampan": [f"{BIN}/sampan", "load", "-q", "-i", str(image)],
        }
        command = self.enclosure.command(*words[name])
        subprocess.run(command, env=self.env, check=True, capture_output=True)

    def run(self, name: str, image: str) -> tuple[str, Path]:
        """Runs a pod with one container; the sandbox and the container's log."""
        self._made += 1
        pod = f"{name}-{self._made}"
        logs = self.folder / "logs" / pod
        logs.mkdir(parents=True)
        client = self.clients[name]
        config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=pod, uid=pod, namespace="default"),
            hostname=pod,
            log_directory=str(logs),
            linux=cri.LinuxPodSandboxConfig(cgroup_parent=f"/{self.enclosure.name}"),
        )
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=HANDLERS[name])
        sandbox = client("RunPodSandbox", request, cri.RunPodSandboxResponse).pod_sandbox_id
        container = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"), image=cri.ImageSpec(image=image), log_path="log"
        )
        wish = cri.CreateContainerRequest(pod_sandbox_id=sandbox, config=container, sandbox_config=config)
        made = client("CreateContainer", wish, cri.CreateContainerResponse).container_id
        client("StartContainer", cri.StartContainerRequest(container_id=made), cri.StartContainerResponse)
        return sandbox, logs / "log"

    def remove(self, name: str, sandbox: str) -> None:
        client = self.clients[name]
        client(
            "StopPodSandbox", cri.StopPodSandboxRequest(pod_sandbox_id=sandbox), cri.StopPodSandboxResponse
        )
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox)
        client("RemovePodSandbox", request, cri.RemovePodSandboxResponse)

    def list(self, name: str) -> int:
        """Asks for all sandboxes and containers, as a kubelet does every second; how many containers there are."""
        client = self.clients[name]
        client("ListPodSandbox", cri.ListPodSandboxRequest(), cri.ListPodSandboxResponse)
        return len(
            client("ListContainers", cri.ListContainersRequest(), cri.ListContainersResponse).containers
        )

    def memory(self) -> float:
        """PSS of all that runs inside, in MB."""
        return sum(memory_of(pid)[1] for pid in self.enclosure.processes()) / 1024

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
        for process in self._processes.values():
            process.terminate()
            process.wait()
        self.enclosure.close()


def main() -> None:
    if not native.is_there() or not shutil.which("containerd") or not Path(configuration.PLUGINS).is_dir():
        raise SystemExit("this needs root, containerd, runc, CNI's plugins and cc")
    with tempfile.TemporaryDirectory(prefix="cri-", dir="/tmp") as name:
        folder = Path(name)
        node = Node(folder)
        try:
            for runtime, image in images(folder):
                node.load(runtime, image)
            hello(node)
            many(node)
        finally:
            node.close()


def images(folder: Path) -> list[tuple[str, Path]]:
    """A hello and a sleeper of each kind, and containerd's pause: the runtime that each is for, and its archive."""
    programs = {
        word: native.bundle(folder / f"native-{word}", source) / "rootfs/program"
        for word, source in (("hello", native.HELLO), ("sleep", native.SLEEPER))
    }
    hello, toolbox = EXAMPLES / "01-hello/hello.wasm", EXAMPLES / "05-toolbox/toolbox.wasm"
    found = {
        "containerd-hello": (programs["hello"], ["/p"]),
        "containerd-sleep": (programs["sleep"], ["/p"]),
        "sampan-hello": (hello, ["/p"]),
        "sampan-sleep": (toolbox, ["/p", "sleep", "100000"]),
    }
    made = [
        (word.partition("-")[0], archive(folder / word, _name(word), {"/p": file}, mode=0o755, Cmd=command))
        for word, (file, command) in found.items()
    ]
    pause = archive(
        folder / "pause", configuration.PAUSE, {"/p": programs["sleep"]}, mode=0o755, Entrypoint=["/p"]
    )
    return [*made, ("containerd", pause)]


def hello(node: Node) -> None:
    """From the call of RunPodSandbox to the first line in the container's log."""

    def run(name: str) -> float:
        begin = time.perf_counter()
        sandbox, log = node.run(name, _name(f"{name}-hello"))
        while not log.stat().st_size:
            time.sleep(0.0002)
        taken = (time.perf_counter() - begin) * 1000
        assert b" stdout F Hello, World!" in log.read_bytes()
        node.remove(name, sandbox)
        return taken

    times = interleaved({name: lambda name=name: run(name) for name in HANDLERS})
    show("RunPodSandbox, CreateContainer, StartContainer, to the first line", times, "containerd")


def many(node: Node) -> None:
    """Pods of one kind at once: what they take, how long lists take, and how long until a killed server has them."""
    print(f"\n{PODS} pods with a sleeper each, {AT_ONCE} begun at once")
    figures: dict[str, dict[str, float]] = {}
    for name in HANDLERS:
        before = node.memory()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            begin = time.perf_counter()
            pods = list(pool.map(lambda _, n=name: node.run(n, _name(f"{n}-sleep")), range(PODS)))
            taken = time.perf_counter() - begin
            time.sleep(1)
            figures[name] = {
                "MB a pod": (node.memory() - before) / PODS,
                "pods a second": PODS / taken,
                "ms a list": _median(lambda n=name: node.list(n)),
                "ms to recover": _recover(node, name),
            }
            list(pool.map(lambda pod, n=name: node.remove(n, pod[0]), pods))
    for what in figures["containerd"]:
        for name, values in figures.items():
            share = values[what] / figures["containerd"][what]
            print(f"  {name:12s} {values[what]:9.2f} {what:14s} {share:6.2f} x containerd")


def _recover(node: Node, name: str) -> float:
    """Milliseconds from the start of a server that was killed to a list with all containers."""
    node.kill(name)
    begin = time.perf_counter()
    node.start(name)
    while node.list(name) < PODS:
        time.sleep(0.005)
    return (time.perf_counter() - begin) * 1000


def _answers(client: Client) -> bool:
    try:
        client("Version", cri.VersionRequest(), cri.VersionResponse)
    except grpc.RpcError:  # containerd takes calls before it is ready for them
        return False
    return True


def _median(action: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        action()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def _name(word: str) -> str:
    return f"localhost/{word}:1"


if __name__ == "__main__":
    print(f"{ROUNDS} rounds")
    main()
