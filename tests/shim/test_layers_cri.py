"""Wasm artifacts as pods get them: containers that containerd's CRI plugin makes, seen through crictl.

Only making them counts here: no container of these is started.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import tools
from tests.cli.conftest import Sampan
from tests.scenarios.conftest import EXAMPLES, Daemon, needs

from sampan.core.roots import Roots
from sampan.core.spec.runtime import Spec
from sampan.doors.shim import layers

MODULES = {
    "first": EXAMPLES / "01-hello" / "hello.wasm",
    "second": EXAMPLES / "05-toolbox" / "toolbox.wasm",
}
PAUSE = 'FROM scratch\nCOPY --chmod=755 busybox /busybox\nENTRYPOINT ["/busybox", "sleep", "100000"]\n'
CGROUPS = Path("/sys/fs/cgroup")
NAMESPACE = "k8s.io"
PEERS = [*tools.needs("crictl"), needs("containerd", "ctr", "runc", "busybox")]
BOTH = [
    pytest.param("debian", marks=PEERS),
    pytest.param("containerd2", marks=[*tools.needs("containerd2"), *PEERS]),
]


class Node:
    """A containerd with its CRI plugin, `ctr`, `crictl`, and a pod on the host's network."""

    def __init__(self, folder: Path, programs: Path | None) -> None:
        self.folder = folder
        self.address = f"{folder}/c.sock"
        path = os.pathsep.join(
            filter(None, [str(programs or ""), str(tools.tool("crictl")), os.environ["PATH"]])
        )
        self.env = {
            **os.environ,
            "PATH": path,
            "CONTAINERD_ADDRESS": self.address,
            "CONTAINERD_NAMESPACE": NAMESPACE,
        }
        (folder / "crictl.yaml").write_text(
            f"runtime-endpoint: unix://{self.address}\nimage-endpoint: unix://{self.address}\ntimeout: 30\n"
        )
        (folder / "config.toml").write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            f'[grpc]\naddress = "{self.address}"\n[ttrpc]\naddress = "{self.address}.ttrpc"\n'
            f'[debug]\naddress = "{folder}/d.sock"\n'
            '[plugins."io.containerd.grpc.v1.cri"]\n'
            'sandbox_image = "localhost/pause:1"\nrestrict_oom_score_adj = true\n'
        )
        command = ["containerd", "--config", str(folder / "config.toml")]
        self.daemon = Daemon(folder, command, self.env)
        self.daemon.wait_for(lambda: self._crictl("version").returncode == 0)
        self._pod_config = self._document(
            "pod",
            metadata={"name": "pod", "namespace": "default", "uid": folder.parent.name},
            linux={
                "cgroup_parent": f"/{folder.parent.name}",
                "security_context": {"namespace_options": {"network": 2}},
            },
        )
        self._pod = ""

    def run_pod(self) -> None:
        self._pod = self.crictl("runp", self._pod_config)

    def close(self) -> None:
        self._crictl("rmp", "-af")
        self.daemon.end()

    def add(self, archive: Path, *flags: str) -> None:
        subprocess.run(
            ["ctr", "images", "import", *flags, archive], env=self.env, check=True, stdout=subprocess.DEVNULL
        )

    def container(self, image: str, *command: str) -> str:
        """A container that is not started; its id."""
        name = f"c{len(list(self.folder.glob('*.json')))}"
        described = self._document(
            name, metadata={"name": name}, image={"image": image}, command=command, linux={}
        )
        return self.crictl("create", self._pod, described, self._pod_config)

    def layer(self, container: str) -> layers.Layer:
        info = subprocess.run(
            ["ctr", "container", "info", container], env=self.env, check=True, stdout=subprocess.PIPE
        )
        spec = Spec.from_json(json.loads(info.stdout)["Spec"])
        roots = Roots(f"{self.folder}/data", f"{self.folder}/run")
        found = layers.resolve(self.address, NAMESPACE, container, spec, roots)
        assert found is not None
        return found

    def crictl(self, *words: str) -> str:
        done = self._crictl(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _crictl(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["crictl", "--config", str(self.folder / "crictl.yaml"), *words]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)

    def _document(self, name: str, **content: object) -> str:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)


@pytest.fixture(params=BOTH)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    above = Path(
        f"/tmp/sp-{os.urandom(4).hex()}"
    )  # sockets' paths are bounded; it names the pod's cgroup, too
    folder = above / "node"
    folder.mkdir(parents=True, mode=0o700)
    node = Node(folder, tools.tool("containerd2") if request.param == "containerd2" else None)
    sampan = Sampan(tmp_path)
    try:
        (tmp_path / "pause").mkdir()
        (tmp_path / "pause" / "Containerfile").write_text(PAUSE)
        shutil.copyfile(shutil.which("busybox") or "", tmp_path / "pause" / "busybox")
        sampan.ok("build", "-q", "-t", "localhost/pause:1", "pause")
        sampan.ok("save", "-o", "pause.tar", "localhost/pause:1")
        node.add(tmp_path / "pause.tar")
        for kind in ("cncf", "wasm-to-oci", "runwasi"):
            for name, module in MODULES.items():
                image = f"localhost/{kind}-{name}:1"
                sampan.ok("build", "-q", "--format", kind, "-t", image, str(module))
                sampan.ok("save", "-o", f"{kind}-{name}.tar", image)
                node.add(tmp_path / f"{kind}-{name}.tar", "--no-unpack")
        node.run_pod()
        yield node
    finally:
        node.close()
        for cgroup in CGROUPS.glob(f"*/{above.name}"):
            cgroup.rmdir()
        shutil.rmtree(above)


def test_a_pods_container_of_a_wasm_artifact_runs_what_its_image_says(node: Node) -> None:
    """All of wasm-to-oci's images have the configuration `{}`, so that CRI takes one for the other; 1.6 hides it."""
    is_old = "RuntimeVersion:  1.6." in node.crictl("version")
    for kind in ("cncf", "runwasi") if is_old else ("cncf", "runwasi", "wasm-to-oci"):
        for name, module in MODULES.items():
            image = f"localhost/{kind}-{name}:1"
            layer = node.layer(node.container(image, "/"))
            assert layer.image == image
            assert Path(layer.path).read_bytes() == module.read_bytes()
