"""Kubernetes' own suite for CRI runtimes on pods of ours: whose containers are WebAssembly, and Linux programs.

With nothing behind us, where every answer is ours, and beside containerd. A few specs in normal runs, with
SAMPAN_SWEEP=full all: for WebAssembly those that are not about the walls of Linux programs. What passes of these is a
list, `wasm_specs.txt`: no spec gets lost.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.scenarios.conftest import needs
from tests.scenarios.shim.pods.conftest import PEERS

from .critest import of_state, outcomes
from .critest_images import PAUSE, Registry
from .node import CriNode
from .wasm_images import WasmRegistry

pytestmark = [
    *tools.needs("critest"),
    *PEERS,
    needs("docker-registry", "skopeo", "gcc", "iptables"),
    pytest.mark.timeout(1800),
]
FULL = os.environ.get("SAMPAN_SWEEP") == "full"
ABROAD = "benchmark|public image with digest"  # an image of the Internet, and no other has this digest
FOREIGN = "AppArmor|Security Context|SELinux|Mount Propagation|Mount Readonly|NRI"
SPECS = (Path(__file__).parent / "wasm_specs.txt").read_text().splitlines()
SYSCTLS = "PodSandbox runtime should support sysctls should support "
FAILING = [
    f"{SYSCTLS}safe sysctls",
    f"{SYSCTLS}unsafe sysctls",
]  # are read in /proc, which a Wasm guest has not
FAILING_ON_LINUX = [
    "Security Context NamespaceOption runtime should support PodPID",  # there is no pause process to share one with
    "Security Context bucket runtime should support MaskedPaths",  # Debian's busybox runs its own ls, not /bin/ls
]
SOME = (
    r"support execSync|with log|reopening|attach|tty=true|portforward \[|set hostname|with only container port|"
    r"OOMKilled|with volume \[|container exec|Idempotence|image without tag|across all APIs|safe sysctls"
)
SOME_ON_LINUX = (
    r"execSync \[|safe sysctls|PodPID|HostNetwork is false|RunAsUser|ReadOnlyRootfs is true|MaskedPaths|NoNewPrivs|"
    r"SupplementalGroups|seccomp localhost|rshared|support recursive readonly mounts"
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmRegistry]:
    registry = WasmRegistry(tmp_path_factory.mktemp("wasm"))
    try:
        registry.fill()
        yield registry
    finally:
        registry.close()


@pytest.fixture
def linux_registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path)
    try:
        registry.fill()
        yield registry
    finally:
        registry.close()


def node_with(registry: Registry, *, containerd: bool) -> Iterator[CriNode]:
    folder = Path(f"/tmp/cri-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    node = CriNode(folder, None, hosts=registry.hosts, pause=PAUSE)
    node.env["SAMPAN_ZYGOTE_IDLE"] = "1"  # it ends and starts again many times
    try:
        if containerd:
            node.start()
        else:
            node.serve("--upstream", "")
        yield node
        left = node.left()
    finally:
        node.close()
    assert left == []


@pytest.fixture(params=["alone", "beside containerd"])
def node(request: pytest.FixtureRequest, registry: WasmRegistry) -> Iterator[CriNode]:
    yield from node_with(registry, containerd=request.param != "alone")


@pytest.fixture
def linux_node(linux_registry: Registry) -> Iterator[CriNode]:
    yield from node_with(linux_registry, containerd=False)


def specs(node: CriNode, focus: str, skip: str, *options: str) -> dict[str, str]:
    """The outcomes of specs on pods of ours."""
    words = ("-runtime-handler", "wasm", f"--ginkgo.focus={focus}", f"--ginkgo.skip={skip}")
    return outcomes(node, node.socket, *words, *options)


def test_pods_of_ours_pass_what_makes_sense_for_webassembly(node: CriNode) -> None:
    focus = "." if FULL else SOME
    found = specs(node, focus, f"{FOREIGN}|{ABROAD}")
    assert of_state(found, "failed") == FAILING
    assert of_state(found, "passed") == sorted(name for name in SPECS if re.search(focus, name))


def test_streams_pass_by_websocket_as_well(node: CriNode) -> None:
    focus = "Streaming" if FULL else "tty=true"
    found = specs(node, focus, ABROAD, "-websocket-exec", "-websocket-attach", "-websocket-portforward")
    assert of_state(found, "passed") == sorted(name for name in SPECS if re.search(focus, name))


def test_S15_with_linux_programs_pods_of_ours_pass_it_all(linux_node: CriNode) -> None:
    focus = "." if FULL else SOME_ON_LINUX
    found = specs(linux_node, focus, ABROAD)
    wanted = [name for name in [*SPECS, *FAILING] if re.search(focus, name)]
    assert of_state(found, "failed") == FAILING_ON_LINUX
    assert sorted(set(wanted) - set(of_state(found, "passed"))) == []
    assert len(of_state(found, "passed")) >= (99 if FULL else 16)
