"""The few questions that containerd is asked about a container's image, over gRPC on its socket.

Services of containerd's API: containers, images, content and introspection, all version 1. Messages are encoded by
`wire.protobuf`, calls by `layers_grpc`.
"""

from __future__ import annotations

from sampan.core.errors import (
    DataLoss,
    Denied,
    Exhausted,
    Internal,
    NotFound,
    SampanError,
    Unavailable,
    printable,
)
from sampan.core.spec.image import Descriptor
from sampan.doors.shim import layers_grpc
from sampan.doors.shim.messages import Pair
from sampan.wire import containerd as wire
from sampan.wire.protobuf import STRING, Message, field, message, repeated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 10.0
_KINDS: dict[int, type[SampanError]] = {
    layers_grpc.RESOURCE_EXHAUSTED: Exhausted,
    layers_grpc.PERMISSION_DENIED: Denied,
    layers_grpc.DATA_LOSS: DataLoss,
}


class GetContainerRequest(Message):
    id: str = field(1, STRING)


class Container(Message):
    image: str = field(3, STRING)


class ContainerResponse(Message):
    container: Container | None = field(1, message(Container))


class PluginsRequest(Message):
    filters: list[str] = field(1, repeated(STRING))


class Plugin(Message):
    exports: list[Pair] = field(5, repeated(message(Pair)))


class PluginsResponse(Message):
    plugins: list[Plugin] = field(1, repeated(message(Plugin)))


class Containerd:
    """A connection to one containerd, in one of its namespaces; `with` closes it.

    Raises:
        Unavailable: containerd does not answer.
    """

    def __init__(self, address: str, namespace: str) -> None:
        self.address = address.removeprefix("unix://")
        self.namespace = namespace
        self._metadata = {wire.NAMESPACE: namespace}
        try:
            self._channel = layers_grpc.Channel(self.address, SECONDS)
        except OSError as error:
            raise self._away(error) from error

    def __enter__(self) -> Containerd:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def image_of(self, container_id: str) -> str:
        """The name of a container's image; empty where its creator named none, as Docker does.

        Raises:
            NotFound: there is no such container. Unavailable: containerd does not answer.
        """
        what = f"the container {container_id} in the namespace {self.namespace}"
        answer = self._call("containers.v1.Containers/Get", GetContainerRequest(container_id), what)
        container = ContainerResponse.decode(answer).container
        return container.image if container is not None else ""

    def target(self, image: str) -> Descriptor:
        """What an image's name points at.

        Raises:
            NotFound: the image is no longer there. Unavailable: containerd does not answer.
        """
        what = f"the image {image} in the namespace {self.namespace}"
        answer = self._call(wire.GET_IMAGE, wire.GetImageRequest(image), what)
        found = wire.GetImageResponse.decode(answer).image
        if found is None or found.target is None:
            raise Internal(f"containerd's answer has no target of {what}")
        return Descriptor(found.target.media_type, found.target.digest, found.target.size)

    def content_root(self) -> str:
        """The folder of containerd's content store, as containerd sees it; empty where it does not say."""
        request = PluginsRequest(["type==io.containerd.content.v1,id==content"])
        answer = self._call("introspection.v1.Introspection/Plugins", request, "its content store")
        exports = [pair for plugin in PluginsResponse.decode(answer).plugins for pair in plugin.exports]
        return next((pair.value for pair in exports if pair.key == "root"), "")

    def stream(self, digest: str) -> Iterator[bytes]:
        """The bytes of some content, in pieces; nothing of them is checked here.

        Raises:
            NotFound: containerd does not have it. Unavailable: it does not answer.
        """
        request = wire.ReadContentRequest(digest)
        for piece in self._messages(wire.READ_CONTENT, request, f"the content {digest}"):
            yield wire.ReadContentResponse.decode(piece).data

    def _call(self, method: str, request: Message, what: str) -> bytes:
        answer = list(self._messages(method, request, what))
        if len(answer) != 1:
            raise Internal(f"containerd has {len(answer)} answers, asked for {what}")
        return answer[0]

    def _messages(self, method: str, request: Message, what: str) -> Iterator[bytes]:
        try:
            yield from self._channel.call(f"{wire.SERVICES}{method}", request.encode(), self._metadata)
        except layers_grpc.Refused as error:
            raise self._failure(error, what) from error
        except OSError as error:
            raise self._away(error, what) from error

    def _failure(self, error: layers_grpc.Refused, what: str) -> SampanError:
        if error.status in (layers_grpc.UNAVAILABLE, layers_grpc.DEADLINE_EXCEEDED):
            return self._away(error, what)
        if error.status == layers_grpc.NOT_FOUND:
            return NotFound(f"containerd has no longer {what}", fix="pull the image again")
        kind = _KINDS.get(error.status, Internal)
        return kind(f"containerd does not hand out {what}: {printable(str(error))}")

    def _away(self, error: Exception, what: str = "") -> Unavailable:
        why = printable(getattr(error, "strerror", None) or str(error))
        asked = f", asked for {what}" if what else ""
        return Unavailable(f"containerd does not answer at {self.address}{asked}: {why}")
