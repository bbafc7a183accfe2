"""`sampan rename`: another name for a container."""

from __future__ import annotations

from sampan.container.events import publish_container
from sampan.container.store import Containers
from sampan.core.commandline import Command
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    containers = Containers(context.roots)
    entry = containers.find(args.operands[0])
    before = entry.container.name
    containers.rename(entry, args.operands[1])
    publish_container(context.roots, entry.container, "rename", oldName=before)
    return 0


COMMAND = Command(
    "rename",
    "CONTAINER NEW_NAME",
    listing.SUMMARIES["rename"],
    run,
    operands="container",
    least=2,
    most=2,
    examples=["sampan rename web old-web"],
)
