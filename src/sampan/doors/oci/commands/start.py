"""`sampan-oci start`."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    entry = find(context, arguments.operands[0])
    from sampan.container.lifecycle import begin

    begin(entry)
    return 0


COMMAND = Command("start", "ID", COMMANDS["start"], run, least=1, most=1, program="sampan-oci")
