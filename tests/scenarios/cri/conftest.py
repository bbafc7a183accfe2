"""Nodes whose kubelet would talk to us: Debian's containerd, and a current one, behind `sampan cri`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.scenarios.shim.pods.conftest import PEERS
from tests.scenarios.shim.pods.node import images, started

from .node import CriNode, pause


@pytest.fixture(scope="session")
def pod_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pods")
    return [*images(folder), pause(folder)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("debian", marks=PEERS),
        pytest.param("containerd2", marks=[*tools.needs("containerd2"), *PEERS]),
    ],
)
def cri_node(request: pytest.FixtureRequest, pod_images: list[Path]) -> Iterator[CriNode]:
    """A node for a module's tests, with the images in containerd; at its end nothing may be left."""
    folder = Path(f"/tmp/cri-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    node = CriNode(folder, tools.tool("containerd2") if request.param == "containerd2" else None)
    with started(node, pod_images) as ready:
        yield ready
