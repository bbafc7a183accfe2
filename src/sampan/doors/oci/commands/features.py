"""`sampan-oci features`: the OCI features document."""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.commandline import Command
from sampan.doors.oci.listing import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    from sampan.doors.oci import features

    print(strictjson.pretty(features.document()))
    return 0


COMMAND = Command("features", "", COMMANDS["features"], run, most=0, program="sampan-oci")
