"""What a kubelet can be told to leave to its runtime: events instead of asking every second, and all stats.

With a current containerd behind us, which has both; what is told of pods is that of two runtimes then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import tools
from tests.scenarios.conftest import needs, until
from tests.scenarios.shim.pods.node import NGINX, WEB

from .cluster import PROGRAMS, Cluster
from .workloads import HELLO, LINUX, MINUTE, container, ended, pod, ready, running, serves, state, tool

pytestmark = [*tools.needs("kubernetes", "containerd2"), needs(*PROGRAMS)]

GATES = ("EventedPLEG", "PodAndContainerStatsFromCRI")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("images"), tools.tool("containerd2"), GATES) as cluster:
        yield cluster


def test_pods_of_both_kinds_begin_and_end_by_events(cluster: Cluster) -> None:
    cluster.apply(pod("linux", container(NGINX), handler=""), pod("wasm", container(WEB)))
    addresses = {name: ready(cluster, name)["status"]["podIP"] for name in ("linux", "wasm")}
    assert serves(lambda: cluster.fetch(f"http://{addresses['linux']}/")) == LINUX
    assert serves(lambda: cluster.fetch(f"http://{addresses['wasm']}:8080/")) == HELLO
    cluster.apply(pod("once", tool("exit", "3"), restartPolicy="Never"))
    assert (ended(cluster, "once")["exitCode"], ended(cluster, "once")["reason"]) == (3, "Error")
    cluster.apply(pod("again", tool("exit", "4")))
    until(lambda: state(cluster, "again")["restartCount"] > 0, MINUTE)
    metrics = cluster.kubectl.ok("get", "--raw", "/api/v1/nodes/sampan-node/proxy/metrics")
    counts = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if "evented_pleg" in line)
    assert float(counts["kubelet_evented_pleg_connection_latency_seconds_count"]) >= 8  # events
    assert float(counts["kubelet_evented_pleg_connection_error_count"]) == 0
    cluster.kubectl.ok("delete", "pod", "linux", "wasm", "once", "again")


def test_stats_of_pods_are_those_of_their_runtime(cluster: Cluster) -> None:
    cluster.apply(pod("linux", container(NGINX), handler=""), pod("wasm", container(WEB)))
    for name in ("linux", "wasm"):
        ready(cluster, name)

    def stats() -> dict[str, Any]:
        raw = cluster.kubectl.ok("get", "--raw", "/api/v1/nodes/sampan-node/proxy/stats/summary")
        return {item["podRef"]["name"]: item for item in json.loads(raw)["pods"]}

    until(lambda: {"linux", "wasm"} <= stats().keys(), MINUTE)
    for name in ("linux", "wasm"):
        until(lambda name=name: stats()[name]["memory"]["workingSetBytes"] > 0)
        found = stats()[name]
        assert found["cpu"]["usageCoreNanoSeconds"] > 0
        assert found["network"]["name"] == "eth0" and found["network"]["rxBytes"] > 0
        assert found["containers"][0]["memory"]["workingSetBytes"] > 0
    cluster.kubectl.ok("delete", "pod", "linux", "wasm")
