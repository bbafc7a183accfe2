"""`sampan save`: images into an archive that Docker, podman and skopeo read too, or into a layout folder."""

from __future__ import annotations

import sys

from sampan.core.commandline import Command, setting
from sampan.core.errors import Precondition
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

FORMATS = "oci-archive|docker-archive|oci-dir"


def run(context: Context, args: Arguments) -> int:
    from sampan.container.events import publish
    from sampan.image.images import find_image
    from sampan.image.platforms import parse_platform
    from sampan.image.saving import save
    from sampan.image.store import ContentStore

    wanted = parse_platform(args.value("platform")) if args.given("platform") else None
    store = ContentStore(context.roots.images)
    images = [find_image(store, text, wanted) for text in args.operands]
    sink: str | BinaryIO = args.value("output")
    if not sink:
        if sys.stdout.isatty():
            raise Precondition("an archive is not written to a terminal", fix="name a file with -o")
        sink = sys.stdout.buffer
    save(store, images, sink, args.value("format"))
    for text, image in zip(args.operands, images):
        publish(context.roots, "image", "save", image.id, {"name": text})
    return 0


COMMAND = Command(
    "save",
    "[OPTIONS] IMAGE [IMAGE...]",
    listing.SUMMARIES["save"],
    run,
    [
        setting(
            "output", "FILE", "Write to a file or folder instead of standard output", "o", complete="file"
        ),
        setting("format", "FORMAT", "What to write", default="oci-archive", complete=FORMATS, own=True),
        setting("platform", "PLATFORM", "Of this platform of an index"),
    ],
    operands="image",
    least=1,
    examples=["sampan save -o hello.tar hello", "sampan save hello | ssh there sampan load"],
)
