"""Kubernetes' own suite for CRI runtimes: what containerd alone passes, it passes through our socket.

A few specs of each kind in normal runs, all of them with SAMPAN_SWEEP=full.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.scenarios.conftest import needs
from tests.scenarios.shim.pods.conftest import PEERS

from .critest import outcomes
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


def passed(found: dict[str, str]) -> set[str]:
    return {name for name, state in found.items() if state == "passed"}


def _counts(found: dict[str, str]) -> dict[str, int]:
    return dict(Counter(found.values()))


def test_what_containerd_alone_passes_it_passes_through_our_socket(node):
    options = ["--ginkgo.flake-attempts=2", *([] if FULL else [f"--ginkgo.focus={SOME}"])]
    alone = outcomes(node, node.upstream, *options)
    through = outcomes(node, node.socket, *options)
    print(f"alone {_counts(alone)}; through our socket {_counts(through)}")  # for who runs it by hand
    print(*sorted(name for name, state in through.items() if state == "failed"), sep="\n")
    assert len(passed(alone)) >= (80 if FULL else 15)
    assert sorted(passed(alone) - passed(through)) == []
    assert {name for name, state in through.items() if "Idempotence" in name and state != "passed"} == set()
