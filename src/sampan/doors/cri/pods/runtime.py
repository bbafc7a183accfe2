"""RuntimeService for the pods that are ours: each call as the API has it, from request to response.

What each call does is in `sandboxes` and `containers`; here is which of the two, and for which one. Calls that
stop or remove are no error where there is nothing (any more) to be stopped or removed; all others are NOT_FOUND.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sampan.core.errors import Invalid, Unimplemented
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.pods import answers
from sampan.doors.cri.pods.containers import PodContainers
from sampan.doors.cri.pods.recovery import recover
from sampan.doors.cri.pods.sandboxes import Pods

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.doors.cri.pods.containers import Images, MakeContainer
    from sampan.doors.cri.pods.index import Index
    from sampan.doors.cri.pods.sandboxes import Network


class Runtime:
    """Our pods and containers; for any number of threads. One server at a time has the roots.

    Args:
        handlers: the engines of the runtime handlers that are ours; empty for wasmtime.
        make_container: the container and its spec, of a pod, a config, an image, an id and the roots.

    Attributes:
        pods, containers: what is known of them, by id in `index`.

    Raises:
        SampanError: a folder of ours cannot be read or written.
    """

    def __init__(
        self,
        roots: Roots,
        handlers: Mapping[str, str],
        network: Network,
        images: Images,
        make_container: MakeContainer,
    ) -> None:
        self.containers = PodContainers(roots, images, make_container)
        self.pods = Pods(roots, handlers, network, self.containers.end_all, self.containers.remove_all)
        recover(roots, self.pods, self.containers)

    # -- what is ours; an id may be the beginning of one

    def has_pod(self, pod_id: str) -> bool:
        return _is_known(self.pods.index, pod_id)

    def has_container(self, container_id: str) -> bool:
        return _is_known(self.containers.index, container_id)

    def has_pod_like(self, metadata: api.PodSandboxMetadata) -> bool:
        """Whether a sandbox of this name, namespace and uid is ours, in whatever attempt."""
        wanted = (metadata.name, metadata.namespace, metadata.uid)
        owned = (known.listed.metadata for known in self.pods.index.all())
        return any((own.name, own.namespace, own.uid) == wanted for own in owned)

    # -- what streams are for

    def container(self, container_id: str) -> Entry:
        """A container as the store has it.

        Raises:
            NotFound: there is none. Invalid: the id begins several. DataLoss: its documents cannot be read.
        """
        return self.containers.index.get(container_id).require_entry()

    def has_stdin_once(self, container_id: str) -> bool:
        """Whether a container's input ends with that of the first client that attached.

        Raises:
            NotFound: there is none.
        """
        return self.containers.index.get(container_id).record.config.stdin_once

    def netns(self, pod_id: str) -> str:
        """The path of a sandbox's network namespace; empty for the host's.

        Raises:
            NotFound: there is none. Precondition: it is not ready.
        """
        known = self.pods.index.get(pod_id)
        known.require_ready()
        return known.pod.netns

    # -- sandboxes

    def run_pod_sandbox(self, request: api.RunPodSandboxRequest) -> api.RunPodSandboxResponse:
        return self.pods.run(request)

    def stop_pod_sandbox(self, request: api.StopPodSandboxRequest) -> api.StopPodSandboxResponse:
        known = self.pods.index.find(request.pod_sandbox_id)
        if known is not None:
            self.pods.stop(known)
        return api.StopPodSandboxResponse()

    def remove_pod_sandbox(self, request: api.RemovePodSandboxRequest) -> api.RemovePodSandboxResponse:
        known = self.pods.index.find(request.pod_sandbox_id)
        if known is not None:
            self.pods.remove(known)
        return api.RemovePodSandboxResponse()

    def pod_sandbox_status(self, request: api.PodSandboxStatusRequest) -> api.PodSandboxStatusResponse:
        known = self.pods.index.get(request.pod_sandbox_id)
        pod = known.pod
        return api.PodSandboxStatusResponse(
            status=answers.pod_status(pod, is_ready=known.is_ready),
            info=answers.pod_info(pod, known.broken) if request.verbose else {},
            containers_statuses=[self.containers.status(each) for each in self.containers.of_pod(pod.id)],
            timestamp=time.time_ns(),
        )

    def list_pod_sandbox(self, request: api.ListPodSandboxRequest) -> api.ListPodSandboxResponse:
        return self.pods.list(request.filter)

    def update_pod_sandbox_resources(
        self, request: api.UpdatePodSandboxResourcesRequest
    ) -> api.UpdatePodSandboxResourcesResponse:
        self.pods.update(self.pods.index.get(request.pod_sandbox_id), request)
        return api.UpdatePodSandboxResourcesResponse()

    # -- containers

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        return self.containers.create(request, self.pods.index.get(request.pod_sandbox_id))

    def start_container(self, request: api.StartContainerRequest) -> api.StartContainerResponse:
        known = self.containers.index.get(request.container_id)
        self.containers.start(known, self.pods.index.get(known.record.pod))
        return api.StartContainerResponse()

    def stop_container(self, request: api.StopContainerRequest) -> api.StopContainerResponse:
        known = self.containers.index.find(request.container_id)
        if known is not None:
            self.containers.stop(known, request.timeout)
        return api.StopContainerResponse()

    def remove_container(self, request: api.RemoveContainerRequest) -> api.RemoveContainerResponse:
        known = self.containers.index.find(request.container_id)
        if known is not None:
            self.containers.remove(known)
        return api.RemoveContainerResponse()

    def container_status(self, request: api.ContainerStatusRequest) -> api.ContainerStatusResponse:
        known = self.containers.index.get(request.container_id)
        info = self.containers.info(known) if request.verbose else {}
        return api.ContainerStatusResponse(status=self.containers.status(known), info=info)

    def list_containers(self, request: api.ListContainersRequest) -> api.ListContainersResponse:
        return self.containers.list(request.filter)

    def update_container_resources(
        self, request: api.UpdateContainerResourcesRequest
    ) -> api.UpdateContainerResourcesResponse:
        self.containers.update(self.containers.index.get(request.container_id), request.linux)
        return api.UpdateContainerResourcesResponse()

    def reopen_container_log(self, request: api.ReopenContainerLogRequest) -> api.ReopenContainerLogResponse:
        self.containers.reopen_log(self.containers.index.get(request.container_id))
        return api.ReopenContainerLogResponse()

    def checkpoint_container(
        self, request: api.CheckpointContainerRequest
    ) -> api.CheckpointContainerResponse:
        known = self.containers.index.get(request.container_id)
        raise Unimplemented(f"container {known.record.id} is one of ours: these cannot be checkpointed")


def _is_known(index: Index[Any], text: str) -> bool:
    """Whether ids of ours begin so: also several, which the call itself refuses."""
    try:
        return index.find(text) is not None
    except Invalid:
        return True
