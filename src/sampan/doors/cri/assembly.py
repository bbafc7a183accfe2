"""The parts of our own runtime, put together: which object answers which call."""

from __future__ import annotations

from google.protobuf.message_factory import GetMessageClass

from sampan.core.record import Record
from sampan.core.roots import Roots
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.nodestatus import node_status
from sampan.doors.cri.router import LISTS, METHODS, Local

EMPTY = [
    *LISTS.values(),
    *("ImageFsInfo", "ImageStatus", "ListMetricDescriptors", "RemoveImage", "UpdateRuntimeConfig"),
]


def _empty(name: str) -> Local:
    kind = GetMessageClass(METHODS[name].output_type)
    return lambda request, context: kind()


class Settings(Record):
    """What the options of the command say.

    Attributes:
        listen, upstream: addresses; `upstream` is empty for none. handlers: runtime handler -> engine.
    """

    listen: str
    upstream: str
    handlers: dict[str, str]
    streaming_address: str
    cni_conf_dir: str
    cni_bin_dirs: list[str]


class Assembly:
    """Our own runtime on `roots`."""

    def __init__(self, roots: Roots, settings: Settings) -> None:
        self.calls: dict[str, Local] = {name: _empty(name) for name in EMPTY}
        self.calls["Status"] = lambda request, context: node_status(settings.handlers, "")
        self.calls["GetContainerEvents"] = lambda request, context: iter(())

    def has_pod(self, pod_id: str) -> bool:
        return False

    def has_container(self, container_id: str) -> bool:
        return False

    def has_pod_like(self, metadata: api.PodSandboxMetadata) -> bool:
        return False

    def close(self) -> None:
        """Ends what serves streams; containers go on."""
