"""`sampan rmi`: takes names from images, and removes the content that no name needs any more."""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.core.errors import Invalid, Precondition
from sampan.core.reference import parse_reference
from sampan.doors.cli import listing
from sampan.doors.cli.context import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context
    from sampan.image.images import Image
    from sampan.image.store import ContentStore


def run(context: Context, args: Arguments) -> int:
    from sampan.image.store import ContentStore

    store = ContentStore(context.roots.images)

    def remove(text: str) -> None:
        _remove(context, store, text, force=args.on("force"), prune=not args.on("no-prune"))

    return each(args.operands, remove)


def _remove(context: Context, store: ContentStore, text: str, *, force: bool, prune: bool) -> None:
    from sampan.container.events import publish
    from sampan.doors.cli.collecting import collect
    from sampan.image.images import find_image, list_images

    image = find_image(store, text)
    names = [other.name for other in list_images(store) if other.id == image.id]
    doomed = [image.name] if _is_name(text, image) else names
    if len(doomed) > 1 and not force:
        raise Precondition(
            f"the image {image.id.partition(':')[2][:12]} has {len(doomed)} names: {', '.join(doomed)}",
            fix="remove them by name, or all with -f",
        )
    if len(doomed) == len(names) and not force:
        _check_unused(context, image)
    for name in doomed:
        store.untag(name)
        publish(context.roots, "image", "untag", image.id, {"name": parse_reference(name).familiar})
        print(f"Untagged: {parse_reference(name).familiar}")
    if len(doomed) == len(names) and prune:
        collect(context, store)
        publish(context.roots, "image", "delete", image.id, {})
        print(f"Deleted: {image.id}")


def _is_name(text: str, image: Image) -> bool:
    """Whether `text` named the image, rather than its id."""
    try:
        reference = parse_reference(text)
    except Invalid:
        return False
    return bool(reference.digest) or str(reference.tagged()) == image.name


def _check_unused(context: Context, image: Image) -> None:
    from sampan.container.store import Containers

    for entry in Containers(context.roots).all():
        if entry.container.image_id == image.id:
            raise Precondition(
                f"the image {image.shown} is used by the container {entry.container.name}",
                fix=f"remove it first: sampan rm {entry.container.name}, or force it with -f",
            )


COMMAND = Command(
    "rmi",
    "[OPTIONS] IMAGE [IMAGE...]",
    listing.SUMMARIES["rmi"],
    run,
    [
        switch("force", "Remove it even if it has several names or a container uses it", "f"),
        switch("no-prune", "Take the names only, leave the content to 'sampan image prune'"),
    ],
    operands="image",
    least=1,
    examples=["sampan rmi hello:v1", "sampan rmi -f 0123456789ab"],
)
