"""Pods of ours beside Linux pods, at one socket: each call finds its pod, and lists have both."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import until
from tests.scenarios.shim.pods.node import DEMO, FOREVER, NGINX, SLEEP, TOOL, Pod

from .node import CriNode


@pytest.fixture
def pods(cri_node: CriNode) -> Iterator[tuple[Pod, Pod]]:
    """One of ours, and one of containerd's."""
    ours, theirs = Pod(cri_node, "wasm", name="ours"), Pod(cri_node, "runc", name="theirs")
    yield ours, theirs
    ours.remove()
    theirs.remove()
    until(lambda: not cri_node.left())


def test_each_call_finds_its_pod(cri_node, pods):
    ours, theirs = pods
    wasm, linux = ours.run("wasm", DEMO, (*TOOL, *FOREVER)), theirs.run("linux", NGINX, SLEEP)
    assert wasm.is_running and linux.is_running
    assert {wasm.id, linux.id} <= set(cri_node.crictl.ok("ps", "-q", "--no-trunc").split())
    assert {ours.id, theirs.id} <= set(cri_node.crictl.ok("pods", "-q", "--no-trunc").split())
    behind = cri_node.behind.ok("ps", "-q", "--no-trunc").split()
    assert linux.id in behind and wasm.id not in behind
    assert ours.ip and theirs.ip and ours.ip != theirs.ip
    assert wasm.exec_sync(*TOOL, "args", "a", "b").stdout.split() != []
    for container in (wasm, linux):
        cri_node.crictl.ok("stop", "--timeout", "1", container.id)
        assert not container.is_running
        cri_node.crictl.ok("rm", container.id)


def test_lists_that_are_filtered_have_one_kind(cri_node, pods):
    ours, theirs = pods
    assert [
        p["id"] for p in json.loads(cri_node.crictl.ok("pods", "--id", ours.id, "-o", "json"))["items"]
    ] == [ours.id]
    assert cri_node.crictl.ok("pods", "--name", "theirs", "-q", "--no-trunc").split() == [theirs.id]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_X6_a_server_that_ends_takes_no_container_with_it(cri_node, pods, number):
    ours, _ = pods
    wasm = ours.run("wasm", DEMO, (*TOOL, *FOREVER))
    pid = wasm.pid
    cri_node.end_server(number)
    assert Path(f"/proc/{pid}").is_dir()
    cri_node.serve()
    assert wasm.is_running and wasm.pid == pid
    assert ours.status["state"] == "SANDBOX_READY"
    cri_node.crictl.ok("stop", "--timeout", "1", wasm.id)
    assert not wasm.is_running


def test_the_upstream_away_is_an_error_for_its_pods_only(cri_node, pods):
    ours, theirs = pods
    wasm = ours.run("wasm", DEMO, (*TOOL, *FOREVER))
    cri_node.crictl.ok("pods")
    cri_node.kill()
    try:
        assert {*cri_node.crictl.ok("pods", "-q", "--no-trunc").split()} == {ours.id, theirs.id}
        assert wasm.is_running and ours.status["state"] == "SANDBOX_READY"
        assert "code = Unavailable" in cri_node.crictl("inspectp", theirs.id).stderr
    finally:
        cri_node.begin_containerd()
    until(lambda: cri_node.crictl("inspectp", theirs.id).returncode == 0)
