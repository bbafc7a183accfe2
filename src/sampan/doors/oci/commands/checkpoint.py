"""`sampan-oci checkpoint`: refused for Wasm containers; the runtime for Linux containers has it for its own."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.core.errors import Unimplemented
from sampan.doors.oci.listing import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    from sampan.container.delegate import hand_over

    container_id = next((w for w in reversed(arguments.operands)), "")
    if container_id and not context.states.is_ours(container_id):
        hand_over(context.words, context.env)
    raise Unimplemented("the process of a Wasm container cannot be saved and restored", fix="stop it and start it")


COMMAND = Command("checkpoint", "ID", COMMANDS["checkpoint"], run, interspersed=False, program="sampan-oci")
