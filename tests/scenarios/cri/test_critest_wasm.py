"""Kubernetes' own suite for CRI runtimes on pods of ours, whose containers are WebAssembly.

With nothing behind us, where every answer is ours, and beside containerd. A few specs in normal runs, with
SAMPAN_SWEEP=full all that are not about the walls of Linux programs. What passes is a list, `wasm_specs.txt`: no spec
gets lost.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.scenarios.conftest import needs
from tests.scenarios.shim.pods.conftest import PEERS

from .critest_images import PAUSE
from .node import CriNode
from .wasm_images import WasmRegistry

pytestmark = [
    *tools.needs("critest"),
    *PEERS,
    needs("docker-registry", "skopeo", "iptables"),
    pytest.mark.timeout(1800),
]
FULL = os.environ.get("SAMPAN_SWEEP") == "full"
FOREIGN = "AppArmor|Security Context|SELinux|Mount Propagation|Mount Readonly|NRI|benchmark"
ABROAD = "public image with digest"  # of a registry of the Internet, and no other has this digest
SOME = (
    r"support execSync|with log|reopening|attach|tty=true|portforward \[|set hostname|with only container port|"
    r"OOMKilled|with volume \[|container exec|Idempotence|image without tag|across all APIs|safe sysctls"
)
FOCUS = "." if FULL else SOME
SPECS = (Path(__file__).parent / "wasm_specs.txt").read_text().splitlines()
IN_PROC = "PodSandbox runtime should support sysctls should support "  # read in /proc, which a guest has not


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmRegistry]:
    registry = WasmRegistry(tmp_path_factory.mktemp("registry"))
    try:
        registry.fill()
        yield registry
    finally:
        registry.close()


@pytest.fixture(params=["alone", "beside containerd"])
def node(request: pytest.FixtureRequest, registry: WasmRegistry) -> Iterator[CriNode]:
    folder = Path(f"/tmp/cri-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    node = CriNode(folder, None, hosts=registry.hosts, pause=PAUSE)
    try:
        if request.param == "alone":
            node.serve("--upstream", "")
        else:
            node.begin_containerd()
            node.serve()
        yield node
        left = node.left()
    finally:
        node.close()
    assert left == []


def outcomes(node: CriNode, focus: str, *options: str) -> dict[str, str]:
    """Spec -> passed, failed or skipped, of those that were to be run."""
    folder = tools.tool("critest")
    assert folder is not None
    report, log = node.folder / "report.json", node.folder / "critest.log"
    command = [
        f"{folder}/critest", "-runtime-endpoint", node.socket, "-image-endpoint", node.socket,
        "-runtime-handler", "wasm", "--ginkgo.no-color", "--ginkgo.seed=1", f"--ginkgo.json-report={report}",
        f"--ginkgo.focus={focus}", f"--ginkgo.skip={FOREIGN}|{ABROAD}", *options,
    ]  # fmt: skip
    with log.open("wb") as output:
        subprocess.run(command, stdout=output, stderr=output, cwd=node.folder, timeout=1500)
    (suite,) = json.loads(report.read_text())
    return {
        " ".join([*spec["ContainerHierarchyTexts"], spec["LeafNodeText"]]).removeprefix("[k8s.io] "): spec[
            "State"
        ]
        for spec in suite["SpecReports"]
        if spec["LeafNodeType"] == "It"
    }


def of_state(found: dict[str, str], state: str) -> list[str]:
    return sorted(name for name, one in found.items() if one == state)


def test_pods_of_ours_pass_what_makes_sense_for_webassembly(node: CriNode) -> None:
    found = outcomes(node, FOCUS)
    assert of_state(found, "failed") == [f"{IN_PROC}safe sysctls", f"{IN_PROC}unsafe sysctls"]
    assert of_state(found, "passed") == sorted(name for name in SPECS if re.search(FOCUS, name))


def test_streams_pass_by_websocket_as_well(node: CriNode) -> None:
    focus = "Streaming" if FULL else "tty=true"
    found = outcomes(node, focus, "-websocket-exec", "-websocket-attach", "-websocket-portforward")
    assert of_state(found, "passed") == sorted(name for name in SPECS if re.search(focus, name))
