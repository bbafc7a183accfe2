"""Nodes with Debian's containerd and with a current one, and pods on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.scenarios.conftest import needs, until

from .node import PLUGINS, Node, Pod, images, started

PEERS = [*tools.needs("crictl"), needs("containerd", "ctr", "runc", "busybox", "ip", f"{PLUGINS}/bridge")]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return images(tmp_path_factory.mktemp("pods"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("debian", marks=PEERS),
        pytest.param("containerd2", marks=[*tools.needs("containerd2"), *PEERS]),
    ],
)
def node(request: pytest.FixtureRequest, archives: list[Path]) -> Iterator[Node]:
    """A node for a module's tests, with the images; at its end nothing may be left."""
    folder = Path(f"/tmp/pod-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    node = Node(folder, tools.tool("containerd2") if request.param == "containerd2" else None)
    with started(node, archives) as ready:
        yield ready


@pytest.fixture
def pod(node: Node) -> Iterator[Pod]:
    """A pod without containers; nothing is left of it at the end."""
    pod = Pod(node, "wasmtime", name="pod")
    yield pod
    pod.remove()
    until(lambda: not node.left())
