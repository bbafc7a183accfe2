"""`sampan restart`: stops containers, and starts them again in the background."""

from __future__ import annotations

from sampan.container import starting
from sampan.container.store import Containers
from sampan.core.commandline import Command
from sampan.core.errors import Precondition
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
        entry = containers.find(name)
        if entry.container.auto_remove:
            raise Precondition(
                f"container {name} goes when it ends, so it cannot be restarted", fix="run it again"
            )
        how.stop(entry, context.roots)
        return name

    def start(name: str) -> None:
        starting.start(containers.find(name), context.roots)
        print(name, flush=True)

    return each_at_once(list(dict.fromkeys(args.operands)), stop, start)


COMMAND = Command(
    "restart",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    listing.SUMMARIES["restart"],
    run,
    OPTIONS,
    operands="container",
    least=1,
    examples=["sampan restart web", "sampan restart -t 2 web worker"],
)
