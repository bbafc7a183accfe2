"""`sampan-oci install`."""

from __future__ import annotations

import sys

from sampan.core.commandline import Command
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.setup.command import INSTALL_OPTIONS, run_install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    return run_install(context.words[len(context.globals) + 1 :], sys.stdout)


COMMAND = Command(
    "install",
    "[TOOL...]",
    COMMANDS["install"],
    run,
    INSTALL_OPTIONS,
    ["sampan-oci install docker podman"],
    program="sampan-oci",
)
