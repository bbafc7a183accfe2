"""S12: crictl with the two files as people have them, on a machine with no containerd."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import EXAMPLES, until
from tests.scenarios.oci.conftest import Tool
from tests.scenarios.oci.images import archive
from tests.scenarios.shim.conftest import CGROUPS
from tests.scenarios.shim.pods.conftest import PEERS

from .node import CriNode

pytestmark = PEERS

MANIFESTS = Path(__file__).parent / "manifests"
SANDBOX, CONTAINER = (str(MANIFESTS / name) for name in ("sandbox_config.json", "container_wasi.json"))
IMAGE = "hydai/wasm-wasi-example:latest"
EXAMPLE = EXAMPLES / "06-wasi-example" / "wasi-example.wasm"
GROUP = "pod_123-456.slice"  # of the file


@pytest.fixture
def node(tmp_path: Path) -> Iterator[CriNode]:
    """A machine with the image, where all pods are ours."""
    folder = Path(f"/tmp/cri-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    node = CriNode(folder, None)
    node.upstream = ""
    image = archive(
        tmp_path / "image", IMAGE, {"/wasi_example_main.wasm": EXAMPLE}, Cmd=["/wasi_example_main.wasm"]
    )
    try:
        node.serve()
        Tool([f"{folder}/bin/sampan"], node.env).ok("load", "-q", "-i", str(image))
        yield node
        until(lambda: not node.left())
    finally:
        left = node.left()
        node.close()
        for group in CGROUPS.glob(f"*/{GROUP}"):  # a kubelet's, which would remove it
            group.rmdir()
    assert left == []


def test_S12_the_files_as_they_are(node: CriNode) -> None:
    crictl = node.crictl
    pod = crictl.ok("runp", SANDBOX).strip()
    assert json.loads(crictl.ok("inspectp", pod))["status"]["state"] == "SANDBOX_READY"
    container = crictl.ok("create", pod, CONTAINER, SANDBOX).strip()
    assert "Created" in crictl.ok("ps", "-a")
    crictl.ok("start", container)
    until(lambda: "Exited" in crictl.ok("ps", "-a"))
    assert json.loads(crictl.ok("inspect", container))["status"]["exitCode"] == 0
    out = crictl.ok("logs", container)
    assert "HOSTNAME: crictl_host" in out
    assert "/wasi_example_main.wasm" in out and "50000000" in out
    assert "File content is This is in a file" in out
    assert json.loads(crictl.ok("images", "-o", "json"))["images"][0]["repoTags"] == [f"docker.io/{IMAGE}"]
    assert len(json.loads(crictl.ok("images", "-o", "json"))["images"]) == 1  # no pause image
    crictl.ok("stopp", pod)
    crictl.ok("rmp", pod)
    assert json.loads(crictl.ok("pods", "-o", "json"))["items"] == []
