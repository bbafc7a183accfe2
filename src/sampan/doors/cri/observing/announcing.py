"""The calls that change pods and containers, with the events that they are: told once a call has gone well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.core.errors import SampanError
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.observing.events import CREATED, DELETED, STARTED, STOPPED, Events
from sampan.doors.cri.observing.usage import is_running

if TYPE_CHECKING:
    from sampan.doors.cri.observing.events import Description
    from sampan.doors.cri.pods.runtime import Runtime


class Announced:
    """A runtime whose changes are published. As other runtimes do, a sandbox counts as a container with its own id."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._events = Events(self._describe)
        for known in runtime.containers.index.all():
            if known.entry is not None and is_running(known):
                self._events.watch(known.entry, known.record.pod)
        self.get_container_events = self._events.get_container_events
        self.close = self._events.close

    def run_pod_sandbox(self, request: api.RunPodSandboxRequest) -> api.RunPodSandboxResponse:
        answer = self._runtime.run_pod_sandbox(request)
        pod_id = answer.pod_sandbox_id
        self._events.publish(CREATED, pod_id, pod_id)
        self._events.publish(STARTED, pod_id, pod_id)
        return answer

    def stop_pod_sandbox(self, request: api.StopPodSandboxRequest) -> api.StopPodSandboxResponse:
        known = self._runtime.pods.index.find(request.pod_sandbox_id)
        was_ready = known is not None and known.is_ready
        answer = self._runtime.stop_pod_sandbox(request)
        if known is not None and was_ready:
            for container in self._runtime.containers.of_pod(known.pod.id):
                self._events.stopped(container.record.id)
            self._events.publish(STOPPED, known.pod.id, known.pod.id)
        return answer

    def remove_pod_sandbox(self, request: api.RemovePodSandboxRequest) -> api.RemovePodSandboxResponse:
        known = self._runtime.pods.index.find(request.pod_sandbox_id)
        was_ready = known is not None and known.is_ready
        before = self._last_words(known.pod.id) if known is not None else None
        answer = self._runtime.remove_pod_sandbox(request)
        if known is not None and before is not None:
            pod, containers = before
            pod.state = api.SANDBOX_NOTREADY
            gone = pod, list[api.ContainerStatus]()
            for container in containers:
                self._events.stopped(container.id, gone)
                self._events.publish(DELETED, container.id, pod.id, gone)
            for kind in (STOPPED, DELETED) if was_ready else (DELETED,):
                self._events.publish(kind, pod.id, pod.id, gone)
        return answer

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        answer = self._runtime.create_container(request)
        record = self._runtime.containers.index.get(answer.container_id).record
        self._events.publish(CREATED, record.id, record.pod)
        return answer

    def start_container(self, request: api.StartContainerRequest) -> api.StartContainerResponse:
        known = self._runtime.containers.index.get(request.container_id)
        answer = self._runtime.start_container(request)
        self._events.publish(STARTED, known.record.id, known.record.pod)
        self._events.watch(known.require_entry(), known.record.pod)
        return answer

    def stop_container(self, request: api.StopContainerRequest) -> api.StopContainerResponse:
        known = self._runtime.containers.index.find(request.container_id)
        answer = self._runtime.stop_container(request)
        if known is not None:
            self._events.stopped(known.record.id)
        return answer

    def remove_container(self, request: api.RemoveContainerRequest) -> api.RemoveContainerResponse:
        known = self._runtime.containers.index.find(request.container_id)
        answer = self._runtime.remove_container(request)
        if known is not None:
            self._events.stopped(known.record.id)
            self._events.publish(DELETED, known.record.id, known.record.pod)
        return answer

    def _describe(self, pod_id: str) -> Description:
        answer = self._runtime.pod_sandbox_status(api.PodSandboxStatusRequest(pod_sandbox_id=pod_id))
        return answer.status, list(answer.containers_statuses)

    def _last_words(self, pod_id: str) -> Description | None:
        """What is known of a pod that is about to be removed."""
        try:
            return self._describe(pod_id)
        except SampanError:  # somebody else removes it
            return None
