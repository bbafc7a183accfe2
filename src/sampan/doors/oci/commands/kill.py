"""`sampan-oci kill`."""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.core.signals import number_of
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    container_id, *rest = arguments.operands
    entry = find(context, container_id)
    number = number_of(rest[0] if rest else "SIGTERM")
    from sampan.container import lifecycle

    if arguments.on("all"):
        lifecycle.signal_all(entry, number)
    else:
        lifecycle.signal(entry, number)
    return 0


COMMAND = Command(
    "kill",
    "ID [SIGNAL]",
    COMMANDS["kill"],
    run,
    [switch("all", "Send it to all processes of the container", "a")],
    ["sampan-oci kill web KILL"],
    least=1,
    most=2,
    program="sampan-oci",
)
