"""Where what pods and containers use is counted: their cgroups, and their network namespaces."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sampan.container.store import RUNNING
from sampan.core.errors import SampanError
from sampan.doors.cri.specs.resources import parts_of
from sampan.linux.cgroup_usage import CgroupUsage, usage_of
from sampan.linux.cgroups import Cgroup
from sampan.linux.netdev import interfaces_of

if TYPE_CHECKING:
    from sampan.doors.cri.pods.containers import KnownContainer
    from sampan.doors.cri.pods.sandboxes import KnownPod
    from sampan.linux.netdev import Interface


def is_running(known: KnownContainer) -> bool:
    state = known.state
    return state is not None and state.status == RUNNING


def usage_of_container(known: KnownContainer) -> CgroupUsage | None:
    """What a container uses; None where it does not run."""
    state = known.state
    if state is None or state.status != RUNNING or state.running is None or not state.running.cgroup:
        return None
    return _usage_at(state.running.cgroup)


def usage_of_pod(known: KnownPod, containers: list[KnownContainer]) -> CgroupUsage:
    """What a pod uses: all that its cgroup has counted, also of containers that are gone; else its containers' sum."""
    parent = "/".join(parts_of(known.pod.cgroup_parent))
    if parent:
        return _usage_at(parent)
    total = CgroupUsage()
    for container in containers:
        total = total.plus(usage_of_container(container) or CgroupUsage())
    return total


def _usage_at(path: str) -> CgroupUsage:
    with suppress(SampanError):
        return usage_of(Cgroup(path.strip("/"), base="").files)
    return CgroupUsage()


def network_of(pods: list[KnownPod]) -> dict[str, list[Interface]]:
    """The interfaces of pods that have a network of their own, by the paths of their namespaces."""
    return interfaces_of([known.pod.netns for known in pods if known.pod.netns])
