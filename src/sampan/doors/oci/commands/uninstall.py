"""`sampan-oci uninstall`."""

from __future__ import annotations

import sys

from sampan.core.commandline import Command
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.setup.command import UNINSTALL_OPTIONS, run_uninstall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    return run_uninstall(context.words[len(context.globals) + 1 :], sys.stdout)


COMMAND = Command(
    "uninstall",
    "[TOOL...]",
    COMMANDS["uninstall"],
    run,
    UNINSTALL_OPTIONS,
    ["sampan-oci uninstall docker podman"],
    program="sampan-oci",
)
