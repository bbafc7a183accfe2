"""Wasm artifacts in pods, by containerd's CRI plugin and crictl; and with ctr, where that makes containers of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.cli.conftest import Sampan
from tests.scenarios.conftest import EXAMPLES, needs, until
from tests.scenarios.oci.conftest import Tool

from .conftest import CGROUPS, Host

HELLO = EXAMPLES / "01-hello" / "hello.wasm"
TOOLBOX = EXAMPLES / "05-toolbox" / "toolbox.wasm"
MODULES = {"hello": HELLO, "toolbox": TOOLBOX}
FORMATS = ("cncf", "runwasi", "wasm-to-oci")
PAUSE = 'FROM scratch\nCOPY --chmod=755 busybox /busybox\nENTRYPOINT ["/busybox", "sleep", "100000"]\n'
CONFIGURED = (
    'FROM scratch\nCOPY toolbox.wasm /data/\nENV GREETING=ahoy\nWORKDIR /data\nENTRYPOINT ["toolbox.wasm"]\n'
)
NODE_NETWORK = 2
PEERS = [*tools.needs("crictl"), needs("containerd", "ctr", "runc", "busybox")]


class Node(Host):
    """A machine whose containerd serves CRI, with `crictl` and a pod on the host's network.

    Attributes:
        is_old: whether containerd is Debian's 1.6. artifacts: the folder with the images' archives.
    """

    def __init__(self, folder: Path, programs: Path | None, artifacts: Path) -> None:
        super().__init__(folder)
        self.artifacts = artifacts
        self.is_old = programs is None
        if programs is not None:
            self.env["PATH"] = f"{programs}:{self.env['PATH']}"
        address = {
            "CONTAINERD_ADDRESS": self.address,
            "CONTAINERD_NAMESPACE": "k8s.io",
            "PATH": self.env["PATH"],
        }
        self.ctr = Tool(["ctr"], address)
        settings = folder / "crictl.yaml"
        settings.write_text(
            f"runtime-endpoint: unix://{self.address}\nimage-endpoint: unix://{self.address}\n"
        )
        self.crictl = Tool([f"{tools.tool('crictl')}/crictl", "--config", str(settings)], {})
        self.logs = folder / "logs"
        self._pod = self._config = ""

    def _configure(self) -> None:
        (self.folder / "config.toml").write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            f'[grpc]\naddress = "{self.address}"\n[ttrpc]\naddress = "{self.address}.ttrpc"\n'
            f'[debug]\naddress = "{self.folder}/d.sock"\nlevel = "debug"\n'
            '[plugins."io.containerd.grpc.v1.cri"]\n'
            'sandbox_image = "localhost/pause:1"\nrestrict_oom_score_adj = true\n'
            '[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "sampan"\n'
            '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.sampan]\n'
            'runtime_type = "io.containerd.sampan.v1"\n'
        )

    def run_pod(self) -> None:
        self.daemon.wait_for(lambda: self.crictl("version").returncode == 0)  # type: ignore[union-attr]
        self._config = self._document(
            "pod",
            metadata={"name": "pod", "namespace": "default", "uid": self.name},
            log_directory=str(self.logs),
            linux={
                "cgroup_parent": f"/{self.name}",
                "security_context": {"namespace_options": {"network": NODE_NETWORK}},
            },
        )
        self._pod = self.crictl.ok("runp", "--runtime", "sampan", self._config).strip()

    def create(self, name: str, image: str, *command: str) -> str:
        """Makes a container of the pod; its id."""
        config = self._document(
            name,
            metadata={"name": name},
            image={"image": image},
            command=command,
            log_path=f"{name}.log",
            linux={},
        )
        return self.crictl.ok("create", self._pod, config, self._config).strip()

    def run_container(self, name: str, image: str, *command: str) -> tuple[int, str]:
        """Runs a container of the pod; its exit code, and what it printed."""
        container = self.create(name, image, *command)
        self.crictl.ok("start", container)
        status = until(lambda: self._ended(container))
        lines = (self.logs / f"{name}.log").read_text().splitlines()
        return status["exitCode"], "".join(f"{line.split(' ', 3)[3]}\n" for line in lines)

    def _ended(self, container: str) -> dict[str, int]:
        status = json.loads(self.crictl.ok("inspect", container))["status"]
        return status if status["state"] == "CONTAINER_EXITED" else {}

    def _document(self, name: str, **content: object) -> str:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)

    def close(self) -> None:
        self.crictl("rmp", "-af")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("debian", marks=PEERS),
        pytest.param("containerd2", marks=[*tools.needs("containerd2"), *PEERS]),
    ],
)
def node(request: pytest.FixtureRequest, artifacts: Path) -> Iterator[Node]:
    folder = Path(f"/tmp/sh-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    node = Node(folder, tools.tool("containerd2") if request.param == "containerd2" else None, artifacts)
    try:
        node.start()
        node.ctr.ok("images", "import", str(artifacts / "pause.tar"))
        for archive in artifacts.glob("*-*.tar"):
            node.ctr.ok("images", "import", "--no-unpack", str(archive))
        node.run_pod()
        yield node
        node.close()
        until(lambda: not node.left(), 15)
    finally:
        left = node.left()
        if node.daemon is not None:
            node.daemon.end()
        until(lambda: not node._processes(), 30)
        for cgroup in CGROUPS.glob(f"*/{node.name}"):
            cgroup.rmdir()
        shutil.rmtree(folder, ignore_errors=True)
    assert left == []


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of each module in each format, named FORMAT-MODULE, and of a pod's sandbox."""
    folder = tmp_path_factory.mktemp("artifacts")
    sampan = Sampan(folder)
    (folder / "pause").mkdir()
    (folder / "pause" / "Containerfile").write_text(PAUSE)
    shutil.copyfile(shutil.which("busybox") or "", folder / "pause" / "busybox")
    sampan.ok("build", "-q", "-t", "localhost/pause:1", "pause")
    sampan.ok("save", "-o", "pause.tar", "localhost/pause:1")
    for kind in FORMATS:
        for name, module in MODULES.items():
            sampan.ok("build", "-q", "--format", kind, "-t", f"localhost/{kind}-{name}:1", str(module))
            sampan.ok("save", "-o", f"{kind}-{name}.tar", f"localhost/{kind}-{name}:1")
    (folder / "configured").mkdir()
    (folder / "configured" / "Containerfile").write_text(CONFIGURED)
    shutil.copyfile(TOOLBOX, folder / "configured" / "toolbox.wasm")
    sampan.ok("build", "-q", "-t", "localhost/configured:1", "configured")
    for kind in ("cncf", "runwasi"):
        image = f"localhost/{kind}-configured:1"
        sampan.ok("image", "convert", "--format", kind, "localhost/configured:1", image)
        sampan.ok("save", "-o", f"{kind}-configured.tar", image)
    return folder


@pytest.mark.parametrize("kind", FORMATS)
def test_a_pod_runs_the_module_that_its_image_is(node: Node, kind: str) -> None:
    """All of wasm-to-oci's images have the configuration `{}`, so that CRI takes one for the other; 1.6 hides it."""
    if kind == "wasm-to-oci" and node.is_old:
        node.ctr.ok("images", "rm", "--sync", "localhost/wasm-to-oci-hello:1")
    code, printed = node.run_container(f"{kind}-toolbox", f"localhost/{kind}-toolbox:1", "/", "exit", "7")
    assert (code, printed) == (7, "")
    code, printed = node.run_container(
        f"{kind}-echo", f"localhost/{kind}-toolbox:1", "toolbox.wasm", "echo", "from", kind
    )
    assert (code, printed) == (0, f"from {kind}\n")
    if not (kind == "wasm-to-oci" and node.is_old):
        code, printed = node.run_container(f"{kind}-hello", f"localhost/{kind}-hello:1", "/")
        assert code == 0
        assert "Hello" in printed


@pytest.mark.parametrize("kind", ["cncf", "runwasi"])
def test_a_converted_images_environment_and_folder_are_its_containers(node: Node, kind: str) -> None:
    """containerd reads them in runwasi's configuration; the others keep them where only the shim looks."""
    image = f"localhost/{kind}-configured:1"
    code, printed = node.run_container(f"{kind}-env", image, "toolbox.wasm", "env")
    assert code == 0
    assert {"GREETING=ahoy", "PWD=/data"} <= set(printed.splitlines())


def test_ctr_runs_what_it_makes_a_container_of(node: Node) -> None:
    node.ctr("images", "import", str(node.artifacts / "runwasi-toolbox.tar"))
    done = node.ctr(
        *node.task("localhost/runwasi-toolbox:1", "toolbox.wasm", "echo", "ahoy", flags=("--rm",))
    )
    if node.is_old:
        assert "mismatched image rootfs and manifest layers" in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, "ahoy\n"), done.stderr


def test_a_container_whose_image_is_gone_says_so(node: Node) -> None:
    container = node.create("gone", "localhost/cncf-hello:1", "/")
    node.ctr.ok("images", "rm", "localhost/cncf-hello:1")
    done = node.crictl("start", container)
    node.ctr.ok("images", "import", "--no-unpack", str(node.artifacts / "cncf-hello.tar"))
    assert done.returncode != 0
    assert "containerd has no longer the image localhost/cncf-hello:1 in the namespace k8s.io" in done.stderr
