"""What is told of images: CRI's message, and the record that a container is made from."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sampan.core.errors import Invalid, SampanError
from sampan.core.record import Record
from sampan.core.reference import parse_reference
from sampan.core.spec.image import WASM_LAYERS, ContainerConfig, Platform
from sampan.doors.cri.api import runtime_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.core.spec.image import Descriptor
    from sampan.image.images import Image

MAX_ID = (1 << 32) - 1


class ImageForPod(Record):
    """An image as a container needs it.

    Attributes:
        id: as ImageStatus tells it. name: as the user wrote it. ref: `repository@digest`.
        rootfs: the folder with its unpacked files.
        config: what a container starts with; checked. labels, annotations: without those that only runtimes may set.
        entrypoint, command: what the pod's `command` and `args` replace; an artifact's entry point is its module.
        modules: the paths of a Wasm artifact's modules in `rootfs`; none for an image of files.
        media_type, platform: what `container.finding.is_linux` asks for.
    """

    id: str
    name: str
    ref: str
    rootfs: str
    config: ContainerConfig
    entrypoint: list[str]
    command: list[str]
    modules: list[str]
    media_type: str
    platform: Platform
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


def image_for_pod(image: Image, tops: Mapping[str, Descriptor], name: str, rootfs: str) -> ImageForPod:
    """The record of an image that is unpacked in `rootfs`. `tops`: what the store's names stand for."""
    entrypoint, command = _words(image)
    return ImageForPod(
        image.id,
        name,
        repo_digest(image, tops) or image.id,
        rootfs,
        image.container_config,
        entrypoint,
        command,
        [f"/{file.path}" for file in image.files if file.descriptor.media_type in WASM_LAYERS],
        image.media_type,
        image.platform,
        image.labels,
        image.annotations,
    )


def image_message(images: list[Image], tops: Mapping[str, Descriptor], pinned: set[str]) -> api.Image:
    """One image, from each of its names.

    Args:
        tops: what the store's names stand for.
        pinned: the ids of images that must not be removed.
    """
    image = images[0]
    user = ""
    with suppress(SampanError):  # a configuration that cannot be read is told when it shall run
        user = image.container_config.user.partition(":")[0]
    is_number = user.isascii() and user.isdigit() and int(user) <= MAX_ID
    return api.Image(
        id=image.id,
        repo_tags=_unique([repo_tag(each) for each in images]),
        repo_digests=_unique([repo_digest(each, tops) for each in images]),
        size=_size(image, tops),
        uid=api.Int64Value(value=int(user)) if is_number else None,
        username="" if is_number else user,
        pinned=image.id in pinned,
    )


def repo_tag(image: Image) -> str:
    """`host/repository:tag`; empty for an image that is named by its digest only."""
    try:
        reference = parse_reference(image.name)
    except Invalid:  # another tool gave it a name that is no reference
        return ""
    return f"{reference.name}:{reference.tag}" if reference.tag else ""


def repo_digest(image: Image, tops: Mapping[str, Descriptor]) -> str:
    """`host/repository@digest`, with the digest of what the name stands for: an index's, if it is one."""
    try:
        reference = parse_reference(image.name)
    except Invalid:
        return ""
    return f"{reference.name}@{tops.get(image.name, image.descriptor).digest}"


def _size(image: Image, tops: Mapping[str, Descriptor]) -> int:
    """Bytes of all that was fetched for it, compressed as it came; with the index, as containerd counts."""
    top = tops.get(image.name, image.descriptor)
    return image.size + (top.size if top.digest != image.descriptor.digest else 0)


def _words(image: Image) -> tuple[list[str], list[str]]:
    """Entry point and command, as `sampan run` takes them: an artifact begins with its module."""
    container = image.container_config
    if container.entrypoint or (image.is_container and image.format != "runwasi"):
        return container.entrypoint, container.cmd
    words = image.entrypoint
    return words[:1], words[1:]


def _unique(texts: list[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
