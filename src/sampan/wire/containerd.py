"""containerd's messages on images and content, as far as taking an image from it needs them.

containerd's api/services/images/v1 and content/v1; namespaces are in the call's metadata (`NAMESPACE`).
"""

from __future__ import annotations

from sampan.wire.protobuf import BYTES, INT64, STRING, Message, field, message, repeated

NAMESPACE = "containerd-namespace"
SERVICES = "/containerd.services."  # before each method
GET_IMAGE = "images.v1.Images/Get"
LIST_IMAGES = "images.v1.Images/List"
READ_CONTENT = "content.v1.Content/Read"


class GetImageRequest(Message):
    name: str = field(1, STRING)


class ListImagesRequest(Message):
    """`filters` are containerd's: `target.digest==sha256:…`."""

    filters: list[str] = field(1, repeated(STRING))


class Target(Message):
    """A descriptor; `size` in bytes."""

    media_type: str = field(1, STRING)
    digest: str = field(2, STRING)
    size: int = field(3, INT64)


class Image(Message):
    name: str = field(1, STRING)
    target: Target | None = field(3, message(Target))


class GetImageResponse(Message):
    image: Image | None = field(1, message(Image))


class ListImagesResponse(Message):
    images: list[Image] = field(1, repeated(message(Image)))


class ReadContentRequest(Message):
    digest: str = field(1, STRING)


class ReadContentResponse(Message):
    data: bytes = field(2, BYTES)
