"""What a build is asked for, and the first and last steps that all builds share."""

from __future__ import annotations

import time

from sampan.core.errors import Invalid, Unimplemented
from sampan.core.record import Record
from sampan.core.reference import parse_reference
from sampan.core.spec.image import ContainerConfig, Descriptor, ImageConfig, Platform
from sampan.image.build.variables import check_name
from sampan.image.formats import WRITABLE
from sampan.image.images import Image, load_image
from sampan.image.keeping import keep
from sampan.image.platforms import host_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.image.leases import Lease
    from sampan.image.store import ContentStore


class Options(Record):
    """What a build is asked for.

    Attributes:
        format: oci, docker, wasm-to-oci, cncf or runwasi.
        target: the stage to build, by name or number; the last one if empty.
        platform: None for this host's. `epoch`: SOURCE_DATE_EPOCH in seconds, None for the clock.
    """

    tags: list[str] = []
    build_args: dict[str, str] = {}
    format: str = "oci"
    target: str = ""
    platform: Platform | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    epoch: int | None = None


def check_options(options: Options) -> None:
    """Refuse what no build can do.

    Raises:
        Unimplemented: the format. Invalid: a tag or the name of a build argument.
    """
    if options.format not in WRITABLE:
        raise Unimplemented(
            f"the format {options.format[:40]!r} cannot be built", fix=f"use one of {', '.join(WRITABLE)}"
        )
    for tag in options.tags:
        if parse_reference(tag).digest:
            raise Invalid(f"the tag {tag!r} has a digest, which only a finished image has")
    for name in options.build_args:
        check_name(name)


def created_at(options: Options) -> int:
    """Nanoseconds since 1970 that the image says it was made at."""
    return time.time_ns() if options.epoch is None else options.epoch * 10**9


def config_for(options: Options, created: str, container: ContainerConfig) -> ImageConfig:
    """The configuration of an image that is built from nothing."""
    platform = options.platform or host_platform()
    return ImageConfig(platform.architecture, platform.os, created, "", platform.variant, config=container)


def finish(store: ContentStore, lease: Lease, done: Descriptor, options: Options) -> Image:
    """Give a written image its tags, while the lease keeps it."""
    image = load_image(store, done)
    keep(
        store, lease, [done.digest, image.manifest.config.digest, *(d.digest for d in image.manifest.layers)]
    )
    for tag in options.tags:
        image.name = image.name or str(parse_reference(tag).tagged())
        store.tag(str(parse_reference(tag).tagged()), done)
    return image
