"""The parts of our own runtime, put together: which object answers which call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from sampan.core.record import Record
from sampan.core.roots import Roots
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import pods_folder
from sampan.doors.cri.execution.calls import Execution
from sampan.doors.cri.images.service import Images
from sampan.doors.cri.network.attaching import Network
from sampan.doors.cri.observing.announcing import Announced
from sampan.doors.cri.observing.metrics import Metrics
from sampan.doors.cri.observing.stats import Stats
from sampan.doors.cri.pods.runtime import Runtime
from sampan.doors.cri.routing.methods import METHODS, snake
from sampan.doors.cri.routing.nodestatus import node_status
from sampan.doors.cri.routing.router import Local
from sampan.doors.cri.specs.translation import make_container
from sampan.doors.cri.streaming.server import StreamingServer


class Settings(Record):
    """What the options of the command say.

    Attributes:
        listen, upstream: addresses; `upstream` is empty for none. handlers: runtime handler -> engine.
        streaming_address: HOST:PORT. hosts: containerd's `certs.d`.
    """

    listen: str
    upstream: str
    handlers: dict[str, str]
    streaming_address: str
    cni_conf_dir: str
    cni_bin_dirs: list[str]
    hosts: str


class Assembly:
    """Our own runtime on `roots`: it knows what is ours, and `calls` has the answers to calls by their names."""

    def __init__(self, roots: Roots, settings: Settings) -> None:
        images = Images(roots, upstream=settings.upstream, hosts=settings.hosts)
        network = Network(settings.cni_conf_dir, settings.cni_bin_dirs, pods_folder(roots))
        runtime = Runtime(roots, settings.handlers, network, images, make_container)
        pods, containers = runtime.pods.index, runtime.containers.index
        self.has_pod, self.has_container = runtime.has_pod, runtime.has_container
        self.has_pod_like = runtime.has_pod_like
        self._streams = StreamingServer(settings.streaming_address)
        self._streams.start()
        self._announced = Announced(runtime)
        execution = Execution(roots, self._streams, runtime)
        self.calls: dict[str, Local] = {}
        for part in (
            runtime,
            images,
            Stats(roots, pods, containers),
            Metrics(pods, containers),
            self._announced,
        ):
            self.calls |= calls_of(part)
        others: dict[str, Local] = {
            "Attach": lambda request, _: api.AttachResponse(url=execution.attach(request)),
            "Exec": lambda request, _: api.ExecResponse(url=execution.exec(request)),
            "ExecSync": lambda request, context: _exec_sync(execution, request, context),
            "GetContainerEvents": self._announced.get_container_events,
            "PortForward": lambda request, _: api.PortForwardResponse(url=execution.port_forward(request)),
            "PullImage": lambda request, context: images.pull_image(request, lambda: not context.is_active()),
            "Status": lambda _, __: node_status(settings.handlers, *network.status()),
            "UpdateRuntimeConfig": _nothing_to_update,
        }
        self.calls |= others

    def end_events(self) -> None:
        """Ends the streams of events, which would go on for ever."""
        self._announced.close()

    def close(self) -> None:
        """Ends the streams of exec, attach and port-forward; containers go on."""
        self._streams.close()


def calls_of(part: object) -> dict[str, Local]:
    """The methods of an object that are named as calls are, in snake case: from a request to a response."""
    return {name: _plain(getattr(part, snake(name))) for name in METHODS if hasattr(part, snake(name))}


def _plain(method: Any) -> Local:
    return lambda request, context: method(request)


def _nothing_to_update(request: object, context: object) -> api.UpdateRuntimeConfigResponse:
    """The addresses of pods, which are all that a kubelet tells, are in CNI's configuration."""
    return api.UpdateRuntimeConfigResponse()


def _exec_sync(
    execution: Execution, request: api.ExecSyncRequest, context: grpc.ServicerContext
) -> api.ExecSyncResponse:
    def when_gone(give_up: Callable[[], None]) -> None:
        if not context.add_callback(give_up):
            give_up()

    stdout, stderr, code = execution.exec_sync(
        request.container_id, list(request.cmd), request.timeout, when_gone
    )
    return api.ExecSyncResponse(stdout=stdout, stderr=stderr, exit_code=code)
