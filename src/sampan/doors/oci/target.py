"""The container that a command names: one of ours, or one of the runtime for Linux containers."""

from __future__ import annotations

from sampan.core.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.doors.oci.context import Context


def find(context: Context, container_id: str) -> Entry:
    """Our container of this id; where it is a Linux container, its runtime takes over and this never returns.

    Raises:
        NotFound: there is none of either kind. Invalid: it is no id.
    """
    hand_over_foreign(context, [container_id])
    return context.states.find(container_id)


def hand_over_foreign(context: Context, words: list[str]) -> None:
    """The runtime for Linux containers takes over, if one of the words is a container of its own."""
    from sampan.container.records import check_name

    for word in words:
        try:
            check_name(word)
        except Invalid:
            continue
        if context.states.is_foreign(word):
            from sampan.container.delegate import hand_over

            hand_over(context.words, context.env)
