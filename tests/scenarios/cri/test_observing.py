"""What crictl shows of both kinds of pods while they run: stats, metrics, events, images."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import until
from tests.scenarios.shim.pods.node import DEMO, FOREVER, NGINX, SLEEP, TOOL, Container, Pod

from .node import CriNode


class Running:
    """One pod of ours and one of containerd's, with a container each."""

    def __init__(self, node: CriNode) -> None:
        self.node = node
        self.ours, self.theirs = Pod(node, "wasm", name="ours"), Pod(node, "runc", name="theirs")
        self.wasm: Container = self.ours.run("wasm", DEMO, (*TOOL, *FOREVER))
        self.linux: Container = self.theirs.run("linux", NGINX, SLEEP)

    def read(self, *words: str) -> Any:
        return json.loads(self.node.crictl.ok(*words))


@pytest.fixture
def running(cri_node: CriNode) -> Iterator[Running]:
    running = Running(cri_node)
    yield running
    running.ours.remove()
    running.theirs.remove()
    until(lambda: not cri_node.left())


def test_stats_are_those_of_both(running: Running) -> None:
    stats = {each["attributes"]["id"]: each for each in running.read("stats", "-o", "json")["stats"]}
    assert {running.wasm.id, running.linux.id} == set(stats)
    wasm = stats[running.wasm.id]
    assert int(wasm["memory"]["workingSetBytes"]["value"]) > 0
    assert int(wasm["cpu"]["usageCoreNanoSeconds"]["value"]) > 0
    assert running.wasm.id[:12] in running.node.crictl.ok("stats", running.wasm.id)
    pods = {each["attributes"]["id"]: each for each in running.read("statsp", "-o", "json")["stats"]}
    assert {running.ours.id, running.theirs.id} == set(pods)
    network = pods[running.ours.id]["linux"]["network"]["defaultInterface"]
    assert network["name"] == "eth0"
    assert int(network["rxBytes"]["value"]) + int(network["txBytes"]["value"]) > 0


def test_metrics_of_ours_are_there_whatever_is_behind(running: Running) -> None:
    names = {each["name"] for each in running.read("metricdescs", "-o", "json")["descriptors"]}
    assert "container_memory_working_set_bytes" in names
    pods = {each["podSandboxId"]: each for each in running.read("metricsp", "-o", "json")["podMetrics"]}
    told = {metric["name"] for metric in pods[running.ours.id]["containerMetrics"][0]["metrics"]}
    assert told <= names


def test_an_image_that_only_containerd_had_is_listed_once(running: Running) -> None:
    images = [i for i in running.read("images", "-o", "json")["images"] if DEMO in i["repoTags"]]
    assert len(images) == 1
    filesystems = running.read("imagefsinfo", "-o", "json")["status"]["imageFilesystems"]
    assert any(f["fsId"]["mountpoint"] == f"{running.node.folder}/data" for f in filesystems)


def test_events_come_as_they_happen(running: Running, tmp_path: Path) -> None:
    if not running.node.has_events:
        refused = running.node.crictl("events", "-o", "json")
        assert refused.returncode != 0 and "Unimplemented" in refused.stderr
        return
    log = tmp_path / "events"
    with log.open("wb") as file:
        command = [*running.node.crictl.command, "events", "-o", "json"]
        listener = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)

    def told(container: Container) -> list[str]:
        return [e["containerEventType"] for e in documents(log) if e["containerId"] == container.id]

    def is_heard() -> bool:
        """Makes a container to see whether crictl listens by now."""
        name = f"probe-{len(probes)}"
        probes.append(running.ours.create(name, DEMO, (*TOOL, *FOREVER)))
        return bool(documents(log))

    probes: list[Container] = []
    try:
        until(is_heard)
        running.node.crictl.ok("stop", "--timeout", "1", running.wasm.id)
        running.node.crictl.ok("rm", running.wasm.id)
        until(lambda: "CONTAINER_DELETED_EVENT" in told(running.wasm))
        assert told(running.wasm) == ["CONTAINER_STOPPED_EVENT", "CONTAINER_DELETED_EVENT"]
        last = documents(log)[-1]["podSandboxStatus"]
        assert (last["id"], last["metadata"]["name"]) == (running.ours.id, "ours")
    finally:
        listener.terminate()
        listener.wait(10)


def documents(log: Path) -> list[dict[str, Any]]:
    """The whole JSON documents in a file, one behind the other."""
    text, found = log.read_text(), []
    while text := text.lstrip():
        try:
            document, end = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError:  # the last one is being written
            break
        found.append(document)
        text = text[end:]
    return found
