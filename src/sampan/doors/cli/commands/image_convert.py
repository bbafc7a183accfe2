"""`sampan image convert`: an image in another of the field's formats."""

from __future__ import annotations

from sampan.core.commandline import Command, setting
from sampan.core.reference import parse_reference
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

FORMATS = "oci|docker|wasm-to-oci|cncf|runwasi"


def run(context: Context, args: Arguments) -> int:
    from sampan.image.convert import convert
    from sampan.image.images import find_image
    from sampan.image.platforms import parse_platform
    from sampan.image.store import ContentStore

    source, target = args.operands
    platform = parse_platform(args.value("platform")) if args.given("platform") else None
    store = ContentStore(context.roots.images)
    image = find_image(store, source)
    name = str(parse_reference(target).tagged())
    print(convert(store, image, args.value("format"), platform, [name]).digest)
    return 0


COMMAND = Command(
    "image convert",
    "[OPTIONS] SOURCE TARGET",
    listing.SUMMARIES["image convert"],
    run,
    [
        setting("format", "FORMAT", "The format of TARGET", default="oci", complete=FORMATS, own=True),
        setting("platform", "PLATFORM", "What a container image says of itself (default: this host's)"),
    ],
    operands="image",
    least=2,
    most=2,
    examples=[
        "sampan image convert --format wasm-to-oci hello:v1 hello:artifact",
        "sampan image convert --format oci --platform wasi/wasm artifact:v1 image:v1",
    ],
)
