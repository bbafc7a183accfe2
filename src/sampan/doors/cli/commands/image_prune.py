"""`sampan image prune`: removes what nothing needs."""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.core.reference import parse_reference
from sampan.core.units import show_size
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

UNNAMED = "This will remove all content that no image's name leads to."
UNUSED = "This will remove all images without at least one container associated to them."


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.asking import confirm

    everything = args.on("all")
    if not args.on("force") and not confirm(UNUSED if everything else UNNAMED):
        return 0
    freed = prune(context, everything=everything)
    print(f"Total reclaimed space: {show_size(freed)}")
    return 0


def prune(context: Context, *, everything: bool) -> int:
    """Removes unneeded content, with `everything` also the names that no container uses; says so; bytes freed.

    Raises:
        SampanError: the store is damaged or cannot be written.
    """
    from sampan.container.store import Containers
    from sampan.core.errors import NotFound
    from sampan.doors.cli.collecting import collect
    from sampan.image.images import list_images
    from sampan.image.store import ContentStore

    store = ContentStore(context.roots.images)
    if everything:
        used = {entry.container.image_id for entry in Containers(context.roots).all()}
        for image in list_images(store):
            if image.id in used:
                continue
            try:
                store.untag(image.name)
            except NotFound:  # another prune was faster
                continue
            print(f"untagged: {parse_reference(image.name).familiar}")
    collected = collect(context, store)
    for digest in collected.digests:
        print(f"deleted: {digest}")
    return collected.bytes


COMMAND = Command(
    "image prune",
    "[OPTIONS]",
    listing.SUMMARIES["image prune"],
    run,
    [
        switch("all", "Remove every image that no container uses", "a"),
        switch("force", "Do not ask", "f"),
    ],
    most=0,
    examples=["sampan image prune", "sampan image prune -af"],
)
