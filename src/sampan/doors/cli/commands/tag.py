"""`sampan tag`: another name for an image."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.core.reference import parse_reference
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.container.events import publish
    from sampan.core.errors import Invalid
    from sampan.image.images import find_image
    from sampan.image.store import ContentStore

    source, target = args.operands
    reference = parse_reference(target).tagged()
    if reference.digest:
        raise Invalid(
            f"{target[:120]} has a digest, which is no name to give", fix="name it like team/app:v1"
        )
    store = ContentStore(context.roots.images)
    image = find_image(store, source)
    # The name's own descriptor, not the chosen manifest's: a name for an index stays one for all platforms.
    store.tag(str(reference), store.names().get(image.name, image.descriptor))
    publish(context.roots, "image", "tag", image.id, {"name": reference.familiar})
    return 0


COMMAND = Command(
    "tag",
    "SOURCE[:TAG] TARGET[:TAG]",
    listing.SUMMARIES["tag"],
    run,
    operands="image",
    least=2,
    most=2,
    examples=["sampan tag app:v1 registry.example:5000/team/app:v1"],
)
