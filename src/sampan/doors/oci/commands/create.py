"""`sampan-oci create`."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.doors.oci import creation, glance
from sampan.doors.oci.listing import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    entry = creation.create(context, arguments)
    glance.write(entry)
    return 0


COMMAND = Command(
    "create", "ID", COMMANDS["create"], run, creation.OPTIONS, least=1, most=1, program="sampan-oci"
)
