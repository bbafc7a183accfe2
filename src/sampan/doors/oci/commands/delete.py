"""`sampan-oci delete`."""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.core.errors import DataLoss, NotFound
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    force = arguments.on("force")
    try:
        entry = find(context, arguments.operands[0])
        from sampan.container.lifecycle import delete

        delete(entry, context.states, force=force)
    except NotFound:
        if not force:
            raise
    except DataLoss:
        if not force:
            raise
        from sampan.container.broken import remove

        remove(arguments.operands[0], context.states)
    return 0


COMMAND = Command(
    "delete",
    "ID",
    COMMANDS["delete"],
    run,
    [switch("force", "Kill it first if it runs; one that is not there is fine", "f")],
    least=1,
    most=1,
    program="sampan-oci",
)
