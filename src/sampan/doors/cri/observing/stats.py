"""What pods and containers use: CRI's stats calls, from cgroups, network namespaces and writable layers.

A container that does not run uses nothing: lists leave it out. Rates are made of two looks, as containerd makes them,
and what is costly to count (the writable layer) may be some seconds old.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sampan.core.errors import SampanError
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.filters import selects_container, selects_pod
from sampan.doors.cri.measured import Measured
from sampan.doors.cri.observing.usage import is_running, network_of, usage_of_container, usage_of_pod
from sampan.linux.diskusage import DiskUsage, disk_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sampan.core.roots import Roots
    from sampan.doors.cri.pods.containers import KnownContainer
    from sampan.doors.cri.pods.index import Index
    from sampan.doors.cri.pods.sandboxes import KnownPod
    from sampan.linux.cgroup_usage import CgroupUsage
    from sampan.linux.netdev import Interface

SECOND = 1_000_000_000


class Rates:
    """CPU time a second, of what is counted up: from the last look that is at least a second old."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int, int, int]] = {}

    def rate(self, key: str, at: int, used: int) -> int:
        """Nanoseconds of CPU time a second; 0 at the first look.

        Args:
            at, used: ns, now and so far.
        """
        with self._lock:
            before, used_before, rate = self._last.get(key, (at, used, 0))
            if at - before >= SECOND:
                rate = max(0, used - used_before) * SECOND // (at - before)
            if at - before >= SECOND or key not in self._last or at < before:
                self._last[key] = (at, used, rate)
            return rate

    def keep(self, keys: Collection[str]) -> None:
        """Forgets all others."""
        with self._lock:
            self._last = {key: last for key, last in self._last.items() if key in keys}


class Stats:
    """The stats of what is ours.

    Args:
        clock: ns since 1970.
    """

    def __init__(
        self,
        roots: Roots,
        pods: Index[KnownPod],
        containers: Index[KnownContainer],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._roots = roots
        self._pods = pods
        self._containers = containers
        self._clock = clock
        self._rates = Rates()
        self._layers: dict[str, Measured[DiskUsage]] = {}

    def container_stats(self, request: api.ContainerStatsRequest) -> api.ContainerStatsResponse:
        """
        Raises:
            NotFound: there is no such container.
        """
        return api.ContainerStatsResponse(stats=self._container(self._containers.get(request.container_id)))

    def list_container_stats(self, request: api.ListContainerStatsRequest) -> api.ListContainerStatsResponse:
        """Those of the running containers that the filter lets through."""
        wanted = request.filter
        self._forget()
        return api.ListContainerStatsResponse(
            stats=[
                self._container(known)
                for known in self._containers.all()
                if selects_container(wanted, known.listed) and is_running(known)
            ]
        )

    def pod_sandbox_stats(self, request: api.PodSandboxStatsRequest) -> api.PodSandboxStatsResponse:
        """
        Raises:
            NotFound: there is no such sandbox.
        """
        known = self._pods.get(request.pod_sandbox_id)
        return api.PodSandboxStatsResponse(stats=self._pod(known, network_of([known])))

    def list_pod_sandbox_stats(
        self, request: api.ListPodSandboxStatsRequest
    ) -> api.ListPodSandboxStatsResponse:
        """Those of the ready sandboxes that the filter lets through."""
        wanted = request.filter
        self._forget()
        chosen = [known for known in self._pods.all() if selects_pod(wanted, known.listed) and known.is_ready]
        network = network_of(chosen)
        return api.ListPodSandboxStatsResponse(stats=[self._pod(known, network) for known in chosen])

    # -- one of them

    def _container(self, known: KnownContainer) -> api.ContainerStats:
        listed = known.listed
        stats = api.ContainerStats(
            attributes=api.ContainerAttributes(
                id=listed.id, metadata=listed.metadata, labels=listed.labels, annotations=listed.annotations
            ),
            writable_layer=self._layer(known),
        )
        usage = usage_of_container(known)
        if usage is not None:
            self._add_usage(stats, listed.id, usage)
        return stats

    def _pod(self, known: KnownPod, network: dict[str, list[Interface]]) -> api.PodSandboxStats:
        listed = known.listed
        containers = [c for c in self._containers.all() if c.record.pod == listed.id and is_running(c)]
        usage = usage_of_pod(known, containers)
        linux = api.LinuxPodSandboxStats(
            network=network_usage(network.get(known.pod.netns, []), self._clock()),
            process=api.ProcessUsage(timestamp=self._clock(), process_count=_number(usage.processes)),
            containers=[self._container(container) for container in containers],
        )
        self._add_usage(linux, listed.id, usage)
        attributes = api.PodSandboxAttributes(
            id=listed.id, metadata=listed.metadata, labels=listed.labels, annotations=listed.annotations
        )
        return api.PodSandboxStats(attributes=attributes, linux=linux)

    def _add_usage(
        self, stats: api.ContainerStats | api.LinuxPodSandboxStats, key: str, usage: CgroupUsage
    ) -> None:
        now = self._clock()
        stats.cpu.CopyFrom(
            api.CpuUsage(
                timestamp=now,
                usage_core_nano_seconds=_number(usage.cpu_ns),
                usage_nano_cores=_number(self._rates.rate(key, now, usage.cpu_ns)),
            )
        )
        stats.memory.CopyFrom(
            api.MemoryUsage(
                timestamp=now,
                working_set_bytes=_number(usage.working_set),
                available_bytes=_number(max(0, usage.limit - usage.working_set)),
                usage_bytes=_number(usage.memory),
                rss_bytes=_number(usage.rss),
                page_faults=_number(usage.faults),
                major_page_faults=_number(usage.major_faults),
            )
        )
        if isinstance(stats, api.ContainerStats):
            stats.swap.CopyFrom(
                api.SwapUsage(
                    timestamp=now,
                    swap_usage_bytes=_number(usage.swap),
                    swap_available_bytes=_number(max(0, usage.swap_limit - usage.swap)),
                )
            )

    def _layer(self, known: KnownContainer) -> api.FilesystemUsage | None:
        if known.entry is None:
            return None
        upper = f"{known.entry.folder}/upper"
        measured = self._layers.setdefault(known.record.id, Measured(lambda: disk_usage(upper)))
        try:
            usage = measured.now()
        except SampanError:  # it was removed meanwhile
            return None
        return api.FilesystemUsage(
            timestamp=self._clock(),
            fs_id=api.FilesystemIdentifier(mountpoint=self._roots.data),
            used_bytes=_number(usage.bytes),
            inodes_used=_number(usage.inodes),
        )

    def _forget(self) -> None:
        """What is remembered of containers and pods that are gone."""
        ids = {known.record.id for known in self._containers.all()}
        self._rates.keep(ids | {known.pod.id for known in self._pods.all()})
        for gone in set(self._layers) - ids:
            self._layers.pop(gone, None)


def network_usage(interfaces: list[Interface], at: int) -> api.NetworkUsage | None:
    """What went over a pod's interfaces, of which the first is its default one; None for the host's network."""
    if not interfaces:
        return None
    messages = [
        api.NetworkInterfaceUsage(
            name=i.name,
            rx_bytes=_number(i.rx_bytes),
            rx_errors=_number(i.rx_errors),
            tx_bytes=_number(i.tx_bytes),
            tx_errors=_number(i.tx_errors),
        )
        for i in interfaces
    ]
    return api.NetworkUsage(timestamp=at, default_interface=messages[0], interfaces=messages[1:])


def _number(value: int) -> api.UInt64Value:
    return api.UInt64Value(value=value)
