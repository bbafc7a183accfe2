"""CRI's metrics: the same names, labels and units as the kubelet's own collector (cAdvisor) and containerd have."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sampan.core.record import Record
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.observing.usage import is_running, network_of, usage_of_container

if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.doors.cri.pods.containers import KnownContainer
    from sampan.doors.cri.pods.index import Index
    from sampan.doors.cri.pods.sandboxes import KnownPod
    from sampan.linux.netdev import Interface

LABELS = ["pod", "namespace", "container", "id", "image"]
NETWORK_LABELS = [*LABELS, "interface"]
COUNTER, GAUGE = "COUNTER", "GAUGE"
SECOND = 1_000_000_000


class _Family(Record):
    """A metric: its name, what it says, of which kind it is, and the counter that it is made of."""

    name: str
    help: str
    kind: str
    source: str
    divisor: int = 1


_OF_CONTAINERS = [
    _Family("container_cpu_usage_seconds_total", "CPU time that was used, in seconds.", COUNTER, "cpu_ns", SECOND),
    _Family("container_memory_usage_bytes", "Memory in use, with all file cache.", GAUGE, "memory"),
    _Family("container_memory_working_set_bytes", "Memory that cannot be reclaimed.", GAUGE, "working_set"),
    _Family("container_memory_rss", "Anonymous memory, in bytes.", GAUGE, "rss"),
    _Family("container_memory_swap", "Swap in use, in bytes.", GAUGE, "swap"),
    _Family("container_memory_total_inactive_file_bytes", "Inactive file cache.", GAUGE, "inactive_file"),
    _Family("container_spec_memory_limit_bytes", "Memory limit; 0 for none.", GAUGE, "limit"),
    _Family("container_oom_events_total", "Processes that the memory limit killed.", COUNTER, "oom_kills"),
    _Family("container_threads", "Threads of all processes.", GAUGE, "processes"),
]  # fmt: skip
_START = _Family("container_start_time_seconds", "When it began, in seconds since 1970.", GAUGE, "")
_OF_NETWORKS = [
    _Family(f"container_network_{way}_{what}_total", f"{text}.", COUNTER, source)
    for way, what, text, source in (
        ("receive", "bytes", "Bytes received", "rx_bytes"),
        ("receive", "packets", "Packets received", "rx_packets"),
        ("receive", "packets_dropped", "Packets dropped while receiving", "rx_dropped"),
        ("receive", "errors", "Errors while receiving", "rx_errors"),
        ("transmit", "bytes", "Bytes sent", "tx_bytes"),
        ("transmit", "packets", "Packets sent", "tx_packets"),
        ("transmit", "packets_dropped", "Packets dropped while sending", "tx_dropped"),
        ("transmit", "errors", "Errors while sending", "tx_errors"),
    )
]


class Metrics:
    """The metrics of what is ours. `clock`: ns since 1970."""

    def __init__(
        self,
        pods: Index[KnownPod],
        containers: Index[KnownContainer],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._pods = pods
        self._containers = containers
        self._clock = clock

    def list_metric_descriptors(
        self, _: api.ListMetricDescriptorsRequest
    ) -> api.ListMetricDescriptorsResponse:
        """The metrics that `list_pod_sandbox_metrics` has, and what their labels mean."""
        families = [(family, LABELS) for family in (*_OF_CONTAINERS, _START)]
        families += [(family, NETWORK_LABELS) for family in _OF_NETWORKS]
        return api.ListMetricDescriptorsResponse(
            descriptors=[
                api.MetricDescriptor(name=f.name, help=f.help, label_keys=keys) for f, keys in families
            ]
        )

    def list_pod_sandbox_metrics(
        self, _: api.ListPodSandboxMetricsRequest
    ) -> api.ListPodSandboxMetricsResponse:
        """The values of all ready sandboxes and their running containers."""
        pods = [known for known in self._pods.all() if known.is_ready]
        network = network_of(pods)
        running = [known for known in self._containers.all() if is_running(known)]
        return api.ListPodSandboxMetricsResponse(
            pod_metrics=[
                api.PodSandboxMetrics(
                    pod_sandbox_id=known.pod.id,
                    metrics=self._network(known, network.get(known.pod.netns, [])),
                    container_metrics=[
                        self._container(known, container)
                        for container in running
                        if container.record.pod == known.pod.id
                    ],
                )
                for known in pods
            ]
        )

    def _network(self, known: KnownPod, interfaces: list[Interface]) -> list[api.Metric]:
        metadata = known.listed.metadata
        return [
            self._metric(
                family,
                getattr(interface, family.source),
                [metadata.name, metadata.namespace, "", known.pod.id, "", interface.name],
            )
            for interface in interfaces
            for family in _OF_NETWORKS
        ]

    def _container(self, pod: KnownPod, known: KnownContainer) -> api.ContainerMetrics:
        metadata, listed = pod.listed.metadata, known.listed
        labels = [metadata.name, metadata.namespace, listed.metadata.name, listed.id, listed.image.image]
        usage, state = usage_of_container(known), known.state
        metrics = []
        if usage is not None and state is not None and state.running is not None:
            metrics = [self._metric(f, getattr(usage, f.source) // f.divisor, labels) for f in _OF_CONTAINERS]
            metrics.append(self._metric(_START, state.running.started // SECOND, labels))
        return api.ContainerMetrics(container_id=listed.id, metrics=metrics)

    def _metric(self, family: _Family, value: int, labels: list[str]) -> api.Metric:
        return api.Metric(
            name=family.name,
            timestamp=self._clock(),
            metric_type=family.kind,
            label_values=labels,
            value=api.UInt64Value(value=value),
        )
