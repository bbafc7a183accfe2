"""What the runtime behind us listed last, for the time that it is away.

A kubelet takes a pod that is not listed for one that is gone: it would fail a Job's pod because containerd is started
anew. So Linux pods stay listed as they were; every other call on them says that their runtime does not answer.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from sampan.doors.cri.answers import has_labels
from sampan.doors.cri.api import runtime_pb2 as api

NAMES = frozenset({"ListPodSandbox", "ListContainers"})


class LastLists:
    """The last whole list of each kind; for any number of threads."""

    def __init__(self) -> None:
        self._last: dict[str, bytes] = {}

    def remember(self, name: str, request: Any, answer: bytes) -> None:
        """Takes note of the answer to a list call, if it was asked for everything."""
        if name in NAMES and not request.filter.ByteSize():
            self._last[name] = answer

    def recall(self, name: str, request: Any) -> Message | None:
        """What the answer to a list call would have been then; None where it is not known."""
        raw = self._last.get(name)
        if raw is None:
            return None
        if name == "ListPodSandbox":
            pods = api.ListPodSandboxResponse.FromString(raw).items
            return api.ListPodSandboxResponse(items=[pod for pod in pods if _is_pod(pod, request.filter)])
        containers = api.ListContainersResponse.FromString(raw).containers
        wanted = [container for container in containers if _is_container(container, request.filter)]
        return api.ListContainersResponse(containers=wanted)


def _is_pod(pod: api.PodSandbox, wanted: api.PodSandboxFilter) -> bool:
    return (
        pod.id.startswith(wanted.id)
        and (not wanted.HasField("state") or pod.state == wanted.state.state)
        and has_labels(pod.labels, wanted.label_selector)
    )


def _is_container(container: api.Container, wanted: api.ContainerFilter) -> bool:
    return (
        container.id.startswith(wanted.id)
        and container.pod_sandbox_id.startswith(wanted.pod_sandbox_id)
        and (not wanted.HasField("state") or container.state == wanted.state.state)
        and has_labels(container.labels, wanted.label_selector)
    )
