"""`sampan-oci state`: the state document of runtime.md, "State", with what runc adds to it."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    from sampan.doors.oci.documents import indented, state_of

    print(indented(state_of(find(context, arguments.operands[0]))))
    return 0


COMMAND = Command("state", "ID", COMMANDS["state"], run, least=1, most=1, program="sampan-oci")
