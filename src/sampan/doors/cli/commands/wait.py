"""`sampan wait`: the exit codes of containers, once they have ended."""

from __future__ import annotations

from sampan.container import ending
from sampan.container.store import Containers
from sampan.core.commandline import Command
from sampan.doors.cli import listing
from sampan.doors.cli.context import each_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    containers = Containers(context.roots)

    def wait(name: str) -> str:
        ended = ending.wait(containers.find(name))
        assert ended is not None  # without a timeout it waits for good
        return str(ended.code)

    return each_at_once(args.operands, wait)


COMMAND = Command(
    "wait",
    "CONTAINER [CONTAINER...]",
    listing.SUMMARIES["wait"],
    run,
    operands="container",
    least=1,
    examples=["sampan wait job"],
)
