"""`sampan create`: a new container that waits for its start."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.doors.cli import creation, listing
from sampan.doors.cli.runflags import CREATE_OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    print(creation.create(context, args).container.id)
    return 0


COMMAND = Command(
    "create",
    "[OPTIONS] IMAGE|FILE [COMMAND] [ARG...]",
    listing.SUMMARIES["create"],
    run,
    CREATE_OPTIONS,
    operands="image or file",
    least=1,
    interspersed=False,
    examples=["sampan create --name job -v ./data:/data tool", "sampan start -a job"],
)
