"""The runtime as GetContainerEvents shows it: what each call changed is told, and so is the end of every container.

The sandbox itself is told like a container, with its own id, as containerd does and a kubelet expects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.doors.cri import answers
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.events import CREATED, DELETED, STARTED, STOPPED, Events
from sampan.doors.cri.runtime import Runtime
from sampan.doors.cri.usage import is_running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.core.roots import Roots
    from sampan.doors.cri.containers import Images, MakeContainer
    from sampan.doors.cri.events import Description
    from sampan.doors.cri.pods import Network


class ObservedRuntime(Runtime):
    """A `Runtime` with `events`. It watches the containers that it finds running; `close` ends that."""

    def __init__(
        self,
        roots: Roots,
        handlers: Mapping[str, str],
        network: Network,
        images: Images,
        make_container: MakeContainer,
    ) -> None:
        super().__init__(roots, handlers, network, images, make_container)
        self.events = Events(self.describe)
        for known in self.containers.index.all():
            if known.entry is not None and is_running(known):
                self.events.watch(known.entry, known.record.pod)

    def close(self) -> None:
        """Ends what watches, and all who listen; containers go on."""
        self.events.close()

    def describe(self, pod_id: str) -> Description:
        """The status of a pod, and those of its containers.

        Raises:
            NotFound: there is no such pod.
        """
        known = self.pods.index.get(pod_id)
        containers = [self.containers.status(each) for each in self.containers.of_pod(pod_id)]
        return answers.pod_status(known.pod, is_ready=known.is_ready), containers

    def run_pod_sandbox(self, request: api.RunPodSandboxRequest) -> api.RunPodSandboxResponse:
        response = super().run_pod_sandbox(request)
        for kind in (CREATED, STARTED):
            self.events.publish(kind, response.pod_sandbox_id, response.pod_sandbox_id)
        return response

    def stop_pod_sandbox(self, request: api.StopPodSandboxRequest) -> api.StopPodSandboxResponse:
        known = self.pods.index.find(request.pod_sandbox_id)
        was_ready = known is not None and known.is_ready
        response = super().stop_pod_sandbox(request)
        if known is not None and was_ready:
            for container in self.containers.of_pod(known.pod.id):
                self.events.stopped(container.record.id)
            self.events.publish(STOPPED, known.pod.id, known.pod.id)
        return response

    def remove_pod_sandbox(self, request: api.RemovePodSandboxRequest) -> api.RemovePodSandboxResponse:
        known = self.pods.index.find(request.pod_sandbox_id)
        if known is None:
            return super().remove_pod_sandbox(request)
        pod_id, was_ready = known.pod.id, known.is_ready
        containers = [container.record.id for container in self.containers.of_pod(pod_id)]
        response = super().remove_pod_sandbox(request)
        gone = answers.pod_status(known.pod, is_ready=False), list[api.ContainerStatus]()
        for container_id in containers:
            self.events.stopped(container_id, gone)
            self.events.publish(DELETED, container_id, pod_id, gone)
        for kind in (STOPPED, DELETED) if was_ready else (DELETED,):
            self.events.publish(kind, pod_id, pod_id, gone)
        return response

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        response = super().create_container(request)
        known = self.containers.index.find(response.container_id)
        if known is not None:
            self.events.publish(CREATED, known.record.id, known.record.pod)
        return response

    def start_container(self, request: api.StartContainerRequest) -> api.StartContainerResponse:
        known = self.containers.index.get(request.container_id)
        response = super().start_container(request)
        self.events.publish(STARTED, known.record.id, known.record.pod)
        self.events.watch(known.require_entry(), known.record.pod)
        return response

    def stop_container(self, request: api.StopContainerRequest) -> api.StopContainerResponse:
        known = self.containers.index.find(request.container_id)
        response = super().stop_container(request)
        if known is not None:
            self.events.stopped(known.record.id)
        return response

    def remove_container(self, request: api.RemoveContainerRequest) -> api.RemoveContainerResponse:
        known = self.containers.index.find(request.container_id)
        response = super().remove_container(request)
        if known is not None:
            self.events.stopped(known.record.id)
            self.events.publish(DELETED, known.record.id, known.record.pod)
        return response
