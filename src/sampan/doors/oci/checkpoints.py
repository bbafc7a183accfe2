"""What `checkpoint` and `restore` have in common: Linux containers have them, Wasm containers have not."""

from __future__ import annotations

from sampan.core.errors import Unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def refuse_or_hand_over(context: Context, arguments: Arguments) -> int:
    """Never returns: any container that is not ours is its runtime's, also one that `restore` would make.

    Raises:
        Unimplemented: the container is ours. Invalid: it is no id.
    """
    from sampan.container.records import check_name

    if not context.states.is_ours(check_name(arguments.operands[0], "container id")):
        from sampan.container.delegate import hand_over

        hand_over(context.words, context.env)
    raise Unimplemented(
        f"container {arguments.operands[0]!r} runs Wasm, and its process cannot be saved and restored",
        fix="stop it and start it",
    )
