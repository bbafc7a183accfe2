"""Kubernetes' own suite for CRI runtimes: what containerd alone passes, it passes through our socket.

A few specs of each kind in normal runs, all of them with SAMPAN_SWEEP=full.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.scenarios.conftest import needs
from tests.scenarios.shim.pods.conftest import PEERS

from .critest_images import PAUSE, Registry
from .node import CriNode

pytestmark = [
    *tools.needs("critest"),
    *PEERS,
    needs("docker-registry", "skopeo", "gcc", "iptables"),
    pytest.mark.timeout(5400),
]
FULL = os.environ.get("SAMPAN_SWEEP") == "full"
SOME = (
    "Runtime info|Idempotence|runtime should support (execSync|attach|exec|portforward|starting container with log|"
    "reopening|DNS config|set hostname|RunAsUser|removing running)|listImage should get"
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    try:
        registry.fill()
        yield registry
    finally:
        registry.close()


@pytest.fixture(params=["debian", pytest.param("containerd2", marks=tools.needs("containerd2"))])
def node(request: pytest.FixtureRequest, registry: Registry) -> Iterator[CriNode]:
    folder = Path(f"/tmp/cri-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    containerd = tools.tool("containerd2") if request.param == "containerd2" else None
    node = CriNode(folder, containerd, hosts=registry.hosts, pause=PAUSE)
    try:
        node.start()
        yield node
    finally:
        node.close()


def outcomes(node: CriNode, endpoint: str) -> dict[str, str]:
    """Spec -> passed, failed, skipped, of those that were to be run."""
    folder = tools.tool("critest")
    assert folder is not None
    report = node.folder / "report.json"
    which = [] if FULL else [f"--ginkgo.focus={SOME}"]
    log = node.folder / "critest.log"
    before = segments()
    with log.open("wb") as output:
        subprocess.run(
            [f"{folder}/critest", "-runtime-endpoint", endpoint, "-image-endpoint", endpoint,
             "--ginkgo.no-color", "--ginkgo.seed=1", "--ginkgo.flake-attempts=2",
             f"--ginkgo.json-report={report}", *which],
            stdout=output, stderr=output, cwd=node.folder, timeout=3600,
        )  # fmt: skip
    for segment in segments() - before:  # critest makes them, to see them, and leaves them
        subprocess.run(["ipcrm", "-m", segment], check=False)
    (suite,) = json.loads(report.read_text())
    return {
        " ".join([*spec["ContainerHierarchyTexts"], spec["LeafNodeText"]]): spec["State"]
        for spec in suite["SpecReports"]
        if spec["LeafNodeType"] == "It"
    }


def segments() -> set[str]:
    """The ids of shared memory of the size that critest makes, which nobody uses."""
    lines = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {words[1] for words in lines if words[3] == "1048576" and words[6] == "0"}


def passed(found: dict[str, str]) -> set[str]:
    return {name for name, state in found.items() if state == "passed"}


def _counts(found: dict[str, str]) -> dict[str, int]:
    return dict(Counter(found.values()))


def test_what_containerd_alone_passes_it_passes_through_our_socket(node):
    alone = outcomes(node, node.upstream)
    through = outcomes(node, node.socket)
    print(f"alone {_counts(alone)}; through our socket {_counts(through)}")  # for who runs it by hand
    print(*sorted(name for name, state in through.items() if state == "failed"), sep="\n")
    assert len(passed(alone)) >= (80 if FULL else 15)
    assert sorted(passed(alone) - passed(through)) == []
    assert {name for name, state in through.items() if "Idempotence" in name and state != "passed"} == set()
