"""`sampan image inspect`: everything about images."""

from __future__ import annotations

from sampan.core.commandline import Command, setting
from sampan.doors.cli import listing
from sampan.doors.cli.context import each
from sampan.doors.cli.output import FORMAT, show_documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    found: list[Any] = []
    platform = args.value("platform")
    code = each(args.operands, lambda text: found.append(inspect(context, text, platform)))
    show_documents(found, args.value("format"))
    return code


def inspect(context: Context, text: str, platform: str = "") -> dict[str, Any]:
    """Docker's document on one image.

    Raises:
        SampanError: as `find_image`.
    """
    from sampan.doors.cli.imagerows import document
    from sampan.image.images import find_image, list_images
    from sampan.image.platforms import parse_platform
    from sampan.image.store import ContentStore

    store = ContentStore(context.roots.images)
    wanted = parse_platform(platform) if platform else None
    image = find_image(store, text, wanted)
    return document(image, [i.name for i in list_images(store, wanted) if i.id == image.id])


COMMAND = Command(
    "image inspect",
    "[OPTIONS] IMAGE [IMAGE...]",
    listing.SUMMARIES["image inspect"],
    run,
    [FORMAT.replace(short="f"), setting("platform", "PLATFORM", "Of this platform of an index")],
    operands="image",
    least=1,
    examples=["sampan image inspect hello", "sampan image inspect -f '{{.Os}}/{{.Architecture}}' hello"],
)
