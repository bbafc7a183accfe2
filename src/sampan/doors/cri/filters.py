"""Which pods and containers a list call asks for; their states are looked at by the callers, who know them last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.doors.cri.api import runtime_pb2 as api


def selects_pod(wanted: api.PodSandboxFilter | api.PodSandboxStatsFilter, pod: api.PodSandbox) -> bool:
    """Whether a filter lets a sandbox through, as far as its state does not matter. Ids may be cut."""
    return pod.id.startswith(wanted.id) and has_labels(pod.labels, wanted.label_selector)


def selects_container(
    wanted: api.ContainerFilter | api.ContainerStatsFilter, container: api.Container
) -> bool:
    """Whether a filter lets a container through, as far as its state does not matter."""
    return (
        container.id.startswith(wanted.id)
        and container.pod_sandbox_id.startswith(wanted.pod_sandbox_id)
        and has_labels(container.labels, wanted.label_selector)
    )


def has_labels(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether all labels of `selector` are among `labels`."""
    return all(labels.get(key) == value for key, value in selector.items())
