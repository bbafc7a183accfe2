"""Images that only the containerd behind us has: copied from its content store into ours, over its socket.

A CRI server that is no containerd has no such services, and a containerd may throw layers away once they are unpacked
(`discard_unpacked_layers`): then the image is not to be had here, and the caller pulls it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from sampan.core.digest import parse_digest
from sampan.core.errors import Internal, Invalid, NotFound, SampanError, Unavailable, Unimplemented, printable
from sampan.core.spec.image import Descriptor
from sampan.doors.cri.images.names import pulled_name
from sampan.image.manifests import resolve_manifest
from sampan.wire import containerd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self, TypeVar

    from sampan.image.store import ContentStore
    from sampan.wire.protobuf import Message

    M = TypeVar("M", bound=Message)

NAMESPACE = "k8s.io"
SECONDS = 10.0
CONTENT_SECONDS = 600.0
MAX_MESSAGE = 16 << 20
_KINDS: dict[grpc.StatusCode, type[SampanError]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
}


class UpstreamContent:
    """A connection to containerd's image and content services; a context manager that closes it.

    Args:
        address: of its socket, with or without `unix://`.
    """

    def __init__(self, address: str, namespace: str = NAMESPACE) -> None:
        self._namespace = namespace
        self._channel = grpc.insecure_channel(
            f"unix://{address.removeprefix('unix://')}",
            options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.enable_http_proxy", 0)],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def take(self, name: str, image_id: str, store: ContentStore) -> str:
        """Copies an image into our store; the name that it has there.

        Args:
            name: a full reference. image_id: as the CRI plugin tells it. One of the two may be empty; the name comes
                first where it leads to an image of this id, for Wasm artifacts share one.

        Raises:
            NotFound: containerd does not have it, or not all of what we would run of it.
            Unavailable, Unimplemented: containerd is away, or the upstream is another server.
            DataLoss, Invalid, Exhausted: as `ContentStore.fill` and `resolve_manifest`.
        """
        with store.lease() as lease:

            def read(descriptor: Descriptor) -> bytes:
                lease.add([descriptor.digest])
                self._fill(store, descriptor)
                return store.read(descriptor)

            for image in filter(None, (name, image_id)):
                try:
                    target = self.target(image)
                except NotFound:
                    continue
                shown = name or self._name_of(target)
                manifest = resolve_manifest(read, target, None, shown).manifest
                if image == name and image_id not in ("", manifest.config.digest):
                    continue
                blobs = {d.digest: d for d in (manifest.config, *manifest.layers)}
                lease.add(blobs)
                for blob in blobs.values():
                    self._fill(store, blob)
                store.tag(shown, target)
                return shown
        raise NotFound(f"the upstream has no image {name or image_id}")

    def target(self, image: str) -> Descriptor:
        """What an image's name (or its id, which the CRI plugin gives it as a name, too) leads to.

        Raises:
            NotFound: there is none. Unavailable, Unimplemented: as `take`.
        """
        request = containerd.GetImageRequest(image)
        found = self._call(containerd.GET_IMAGE, request, containerd.GetImageResponse, image).image
        if found is None or found.target is None:
            raise Internal(f"containerd's answer has no target of the image {image}")
        return Descriptor(found.target.media_type, found.target.digest, found.target.size)

    def _name_of(self, target: Descriptor) -> str:
        request = containerd.ListImagesRequest([f"target.digest=={target.digest}"])
        listed = self._call(containerd.LIST_IMAGES, request, containerd.ListImagesResponse, target.digest)
        for image in listed.images:
            try:
                return str(pulled_name(image.name))
            except Invalid:  # an id
                continue
        raise NotFound(f"containerd has no name for the image {target.digest}")

    def _fill(self, store: ContentStore, descriptor: Descriptor) -> None:
        if not store.has(descriptor.digest):
            store.fill(descriptor, self._stream(parse_digest(descriptor.digest)))

    def _stream(self, digest: str) -> Iterator[bytes]:
        read: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(
            f"{containerd.SERVICES}{containerd.READ_CONTENT}"
        )
        request = containerd.ReadContentRequest(digest).encode()
        try:
            for piece in read(request, timeout=CONTENT_SECONDS, metadata=self._metadata):
                yield containerd.ReadContentResponse.decode(piece).data
        except grpc.RpcError as error:
            raise _refusal(error, f"the content {digest}") from error

    def _call(self, method: str, request: Message, response: type[M], what: str) -> M:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"{containerd.SERVICES}{method}"
        )
        try:
            return response.decode(call(request.encode(), timeout=SECONDS, metadata=self._metadata))
        except grpc.RpcError as error:
            raise _refusal(error, f"the image {what}") from error

    @property
    def _metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return ((containerd.NAMESPACE, self._namespace),)


def _refusal(error: grpc.RpcError, what: str) -> SampanError:
    kind = _KINDS.get(error.code(), Internal)
    return kind(f"the upstream does not hand out {what}: {printable(error.details() or str(error.code()))}")
