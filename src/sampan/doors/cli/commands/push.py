"""`sampan push`: an image of the store to a registry."""

from __future__ import annotations

from sampan.core.commandline import Command, Option, switch
from sampan.core.errors import NotFound
from sampan.core.reference import parse_reference
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.container.events import publish
    from sampan.doors.cli.progress import shown
    from sampan.doors.cli.registries import open_registry, with_default_tag
    from sampan.image.store import ContentStore

    quiet = args.on("quiet")
    reference = parse_reference(args.operands[0])
    reference = reference.tagged() if quiet else with_default_tag(reference)
    store = ContentStore(context.roots.images)
    descriptor = store.names().get(str(reference))
    if descriptor is None:
        raise NotFound(f"there is no image named {reference.familiar}", fix="sampan images lists them")
    if not quiet:
        print(f"The push refers to repository [{reference.name}]", flush=True)
    with open_registry(context) as registry, shown(context.env, quiet=quiet) as progress:
        pushed = registry.push(store, descriptor, reference, progress)
    publish(context.roots, "image", "push", reference.familiar, {"name": reference.familiar_name})
    if quiet:
        print(reference)
    else:
        print(f"{reference.tag or reference.digest}: digest: {pushed.digest} size: {pushed.size}")
    return 0


COMMAND = Command(
    "push",
    "[OPTIONS] NAME[:TAG]",
    listing.SUMMARIES["push"],
    run,
    [
        switch("quiet", "Print the reference only", "q"),
        switch("disable-content-trust", "Accepted", no_effect="content is always sent by its digest"),
        Option("all-tags", short="a", refusal="images are pushed one by one, by name"),
        Option("platform", value="PLATFORM", refusal="a push sends everything that the name stands for"),
    ],
    operands="image",
    least=1,
    most=1,
    examples=["sampan push registry.example:5000/team/app:v1"],
)
