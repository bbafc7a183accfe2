"""`sampan stop`: ends containers, all that are named at the same time."""

from __future__ import annotations

from sampan.container.store import Containers
from sampan.core.commandline import Command
from sampan.doors.cli import listing
from sampan.doors.cli.context import each_at_once
from sampan.doors.cli.stopping import OPTIONS, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    how, containers = Stop(args), Containers(context.roots)

    def stop(name: str) -> str:
        how.stop(containers.find(name), context.roots)
        return name

    return each_at_once(args.operands, stop)


COMMAND = Command(
    "stop",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    listing.SUMMARIES["stop"],
    run,
    OPTIONS,
    operands="container",
    least=1,
    examples=["sampan stop web", "sampan stop -t 2 web worker"],
)
