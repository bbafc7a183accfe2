"""Stats and metrics of real pods: what the kernel counts, and what is left out where nothing runs."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from sampan.core.errors import NotFound
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.observing.metrics import Metrics
from sampan.doors.cri.observing.stats import Rates, Stats, network_usage
from sampan.linux.namespaces import NEWNET, enter
from sampan.linux.netdev import parse

from ..waiting import until
from .conftest import PodWorld

SECOND = 1_000_000_000


def stats_of(world: PodWorld) -> Stats:
    return Stats(world.roots, world.runtime.pods.index, world.runtime.containers.index)


def metrics_of(world: PodWorld) -> Metrics:
    return Metrics(world.runtime.pods.index, world.runtime.containers.index)


def container_stats(stats: Stats, container: str) -> api.ContainerStats:
    return stats.container_stats(api.ContainerStatsRequest(container_id=container)).stats


def listed(stats: Stats, **wanted: object) -> list[str]:
    request = api.ListContainerStatsRequest(filter=api.ContainerStatsFilter(**wanted))  # type: ignore[arg-type]
    return [each.attributes.id for each in stats.list_container_stats(request).stats]


def listed_pods(stats: Stats, **wanted: object) -> list[api.PodSandboxStats]:
    request = api.ListPodSandboxStatsRequest(filter=api.PodSandboxStatsFilter(**wanted))  # type: ignore[arg-type]
    return list(stats.list_pod_sandbox_stats(request).stats)


def within(netns: str, what: Callable[[], None]) -> None:
    """Calls something on a thread in a network namespace."""

    def run() -> None:
        with open(netns) as file:
            enter(file.fileno(), NEWNET)
        what()

    thread = Thread(target=run)
    thread.start()
    thread.join()


def test_a_busy_container_uses_memory_and_cpu(world: PodWorld) -> None:
    pod = world.run_pod("web")
    config = api.LinuxContainerConfig(resources=api.LinuxContainerResources(memory_limit_in_bytes=64 << 20))
    busy = world.start_new(pod, "loop", labels={"tier": "back"}, annotations={"a": "b"}, linux=config)
    stats = stats_of(world)
    first = container_stats(stats, busy)
    assert first.attributes.id == busy
    assert first.attributes.metadata.name == "main"
    assert dict(first.attributes.labels) == {"tier": "back"}
    assert dict(first.attributes.annotations) == {"a": "b"}
    assert first.cpu.usage_nano_cores.value == 0
    used = first.cpu.usage_core_nano_seconds.value
    until(lambda: container_stats(stats, busy).cpu.usage_nano_cores.value > 0)
    second = container_stats(stats, busy)
    assert second.cpu.usage_core_nano_seconds.value > used
    assert second.cpu.timestamp - first.cpu.timestamp >= SECOND
    memory = second.memory
    assert 0 < memory.working_set_bytes.value <= memory.usage_bytes.value <= 64 << 20
    assert memory.available_bytes.value == (64 << 20) - memory.working_set_bytes.value
    assert memory.rss_bytes.value > 0
    assert memory.page_faults.value > 0
    assert second.HasField("swap")


def test_without_a_limit_nothing_is_available_as_containerd_says(world: PodWorld) -> None:
    container = world.start_new(world.run_pod(), "sleep", "100000")
    assert container_stats(stats_of(world), container).memory.available_bytes.value == 0


def test_the_writable_layer_is_counted(world: PodWorld) -> None:
    container = world.start_new(world.run_pod(), "sleep", "100000")
    before = container_stats(stats_of(world), container).writable_layer
    upper = Path(world.runtime.container(container).folder) / "upper"
    (upper / "folder").mkdir()
    (upper / "folder" / "file").write_bytes(b"x" * 100_000)
    (upper / "link").symlink_to("/etc")
    layer = container_stats(stats_of(world), container).writable_layer
    assert 100_000 <= layer.used_bytes.value - before.used_bytes.value <= 200_000
    assert layer.inodes_used.value - before.inodes_used.value == 3
    assert layer.fs_id.mountpoint == world.roots.data
    assert layer.timestamp > 0


def test_only_what_runs_is_listed_and_filters_hold(world: PodWorld) -> None:
    one, two = world.run_pod("one"), world.run_pod("two")
    first = world.start_new(one, "sleep", "100000", labels={"a": "1"})
    second = world.start_new(two, "sleep", "100000", labels={"a": "2"})
    ended = world.start_new(one, "exit", "0", name="ended")
    world.ended(ended)
    world.create(one, "sleep", "1", name="created")
    stats = stats_of(world)
    assert sorted(listed(stats)) == sorted([first, second])
    assert listed(stats, id=first[:20]) == [first]
    assert listed(stats, pod_sandbox_id=two) == [second]
    assert listed(stats, label_selector={"a": "2"}) == [second]
    assert listed(stats, label_selector={"a": "3"}) == []
    assert [c.attributes.id for c in listed_pods(stats, id=one)[0].linux.containers] == [first]
    assert [p.attributes.id for p in listed_pods(stats, label_selector={"app": "two"})] == [two]


def test_one_that_does_not_run_uses_nothing(world: PodWorld) -> None:
    ended = world.start_new(world.run_pod(), "exit", "0")
    world.ended(ended)
    found = container_stats(stats_of(world), ended)
    assert found.attributes.id == ended
    assert not found.HasField("cpu")
    assert not found.HasField("memory")
    assert found.HasField("writable_layer")


def test_K3_unknown_ids_are_not_found(world: PodWorld) -> None:
    stats = stats_of(world)
    with pytest.raises(NotFound):
        container_stats(stats, "nothing")
    with pytest.raises(NotFound):
        stats.pod_sandbox_stats(api.PodSandboxStatsRequest(pod_sandbox_id="nothing"))


def test_a_pod_is_the_sum_of_its_containers(world: PodWorld) -> None:
    pod = world.run_pod("web")
    for name in ("a", "b"):
        world.start_new(pod, "sleep", "100000", name=name)
    found = stats_of(world).pod_sandbox_stats(api.PodSandboxStatsRequest(pod_sandbox_id=pod)).stats
    assert found.attributes.metadata.name == "web"
    assert dict(found.attributes.labels) == {"app": "web"}
    linux = found.linux
    used = sum(c.memory.usage_bytes.value for c in linux.containers)
    assert 0 < used * 0.5 < linux.memory.usage_bytes.value < used * 1.5
    assert linux.process.process_count.value >= 2
    assert not linux.HasField("network")  # there is no interface but loopback


def test_what_goes_over_a_pods_network_is_counted_without_a_process_in_it(world: PodWorld) -> None:
    pod = world.run_pod("web")
    netns = world.runtime.netns(pod)
    for words in (
        "link add eth0 type veth peer name eth1",
        "addr add 10.99.0.1/24 broadcast + dev eth0",
        "link set eth0 up",
        "link set eth1 up",
    ):
        subprocess.run(["nsenter", f"--net={netns}", "ip", *words.split()], check=True)

    def talk() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.sendto(b"x" * 1000, ("10.99.0.255", 9))

    within(netns, talk)
    (found,) = listed_pods(stats_of(world))
    network = found.linux.network
    assert network.default_interface.name == "eth0"
    assert network.default_interface.tx_bytes.value > 1000
    assert [each.name for each in network.interfaces] == ["eth1"]
    assert network.interfaces[0].rx_bytes.value > 1000
    request = api.ListPodSandboxMetricsRequest()
    metrics = metrics_of(world).list_pod_sandbox_metrics(request).pod_metrics[0].metrics
    sent = {
        m.label_values[-1]: m.value.value
        for m in metrics
        if m.name == "container_network_transmit_bytes_total"
    }
    assert sent["eth0"] > 1000


@pytest.mark.parametrize("ending", ["", ".slice"])
def test_a_pod_with_a_cgroup_counts_what_its_ended_containers_used(world: PodWorld, ending: str) -> None:
    parent = f"/sampan-test-{world.roots.data.encode().hex()[-12:]}{ending}"
    pod = world.run_pod("web", linux=api.LinuxPodSandboxConfig(cgroup_parent=parent))
    container = world.start_new(pod, "loop")
    stats = stats_of(world)
    until(lambda: container_stats(stats, container).cpu.usage_core_nano_seconds.value > SECOND // 5)
    before = container_stats(stats, container).cpu.usage_core_nano_seconds.value
    world.stop(container)
    (found,) = listed_pods(stats)
    assert found.linux.cpu.usage_core_nano_seconds.value >= before
    assert list(found.linux.containers) == []


def test_metrics_have_the_labels_that_are_described(world: PodWorld) -> None:
    pod = world.run_pod("web")
    container = world.start_new(pod, "sleep", "100000")
    metrics = metrics_of(world)
    described = metrics.list_metric_descriptors(api.ListMetricDescriptorsRequest()).descriptors
    keys = {each.name: list(each.label_keys) for each in described}
    assert all(each.help for each in described)
    (found,) = metrics.list_pod_sandbox_metrics(api.ListPodSandboxMetricsRequest()).pod_metrics
    assert found.pod_sandbox_id == pod
    (of_container,) = found.container_metrics
    assert of_container.container_id == container
    values = {metric.name: metric for metric in of_container.metrics}
    for name, metric in values.items():
        labels = dict(zip(keys[name], metric.label_values, strict=True))
        assert labels["pod"] == "web"
        assert labels["namespace"] == "default"
        assert labels["container"] == "main"
        assert labels["id"] == container
    assert values["container_memory_working_set_bytes"].value.value > 0
    assert values["container_memory_working_set_bytes"].metric_type == api.GAUGE
    assert values["container_cpu_usage_seconds_total"].metric_type == api.COUNTER
    assert abs(values["container_start_time_seconds"].value.value - time.time()) < 300
    world.stop(container)
    (found,) = metrics.list_pod_sandbox_metrics(api.ListPodSandboxMetricsRequest()).pod_metrics
    assert list(found.container_metrics) == []


def test_the_network_of_a_pod_is_told() -> None:
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls\n"
        "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0  0 0 0\n"
        "  net1:       7       1    0    0    0     0          0         0        8       1    0    0    0  0 0 0\n"
        "  eth0:    1234      10    2    3    0     0          0         0     5678      20    4    5    0  0 0 0\n"
    )
    usage = network_usage(parse(text), 42)
    assert usage is not None
    eth0 = usage.default_interface
    assert (eth0.name, eth0.rx_bytes.value, eth0.rx_errors.value) == ("eth0", 1234, 2)
    assert (eth0.tx_bytes.value, eth0.tx_errors.value) == (5678, 4)
    assert [each.name for each in usage.interfaces] == ["net1"]
    assert usage.timestamp == 42
    assert network_usage([], 42) is None


class TestRates:
    def test_the_first_look_has_no_rate_and_the_next_has(self) -> None:
        rates = Rates()
        assert rates.rate("c", 10 * SECOND, 500) == 0
        assert rates.rate("c", 12 * SECOND, 500 + SECOND) == SECOND // 2

    def test_a_look_too_soon_tells_the_last_rate_and_changes_nothing(self) -> None:
        rates = Rates()
        rates.rate("c", 10 * SECOND, 0)
        rates.rate("c", 12 * SECOND, SECOND)
        assert rates.rate("c", 12 * SECOND + 1, SECOND + 999) == SECOND // 2
        assert rates.rate("c", 13 * SECOND, SECOND + 100) == 100

    def test_X8_a_clock_that_goes_back_begins_anew(self) -> None:
        rates = Rates()
        rates.rate("c", 100 * SECOND, SECOND)
        assert rates.rate("c", 10 * SECOND, 2 * SECOND) == 0
        assert rates.rate("c", 11 * SECOND, 3 * SECOND) == SECOND

    def test_a_counter_that_goes_back_is_no_rate_and_the_forgotten_begin_anew(self) -> None:
        rates = Rates()
        rates.rate("c", 10 * SECOND, SECOND)
        assert rates.rate("c", 12 * SECOND, 0) == 0
        rates.keep([])
        assert rates.rate("c", 14 * SECOND, SECOND) == 0
