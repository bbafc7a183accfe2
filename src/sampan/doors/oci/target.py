"""The container that a command names: one of ours, or one of the runtime for Linux containers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.doors.oci.context import Context


def find(context: Context, container_id: str) -> Entry:
    """Our container of this id; where it is a Linux container, its runtime takes over and this never returns.

    Raises:
        NotFound: there is none of either kind. Invalid: it is no id.
    """
    from sampan.container.records import check_name

    states = context.states
    if states.is_foreign(check_name(container_id, "container id")):
        from sampan.container.delegate import hand_over

        hand_over(context.words, context.env)
    return states.find(container_id)
