"""`sampan kill`: a signal to running containers."""

from __future__ import annotations

from sampan.container import ending
from sampan.container.store import Containers
from sampan.core.commandline import Command, setting
from sampan.core.signals import number_of
from sampan.doors.cli import listing
from sampan.doors.cli.context import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    number, containers = number_of(args.value("signal")), Containers(context.roots)

    def kill(name: str) -> None:
        ending.kill(containers.find(name), context.roots, number)
        print(name)

    return each(args.operands, kill)


COMMAND = Command(
    "kill",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    listing.SUMMARIES["kill"],
    run,
    [setting("signal", "SIGNAL", "The signal to send", "s", default="KILL")],
    operands="container",
    least=1,
    examples=["sampan kill web", "sampan kill -s HUP web"],
)
