"""Restart policies: what they say of a container that has ended. The zygote carries it out."""

from __future__ import annotations

from sampan.container.records import Restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Exit
    from sampan.container.store import Entry


def wants_restart(entry: Entry, record: Exit) -> bool:
    """What the restart policy says of this ending (Docker's rules; a start that failed is not tried again)."""
    policy = entry.container.restart or Restart()
    restarts = entry.restarts
    if restarts.stopped_by_user or (record.reason == "error" and restarts.count == 0):
        return False
    if policy.policy == "on-failure":
        return record.code != 0 and (policy.most == 0 or restarts.count < policy.most)
    return policy.policy in ("always", "unless-stopped")
