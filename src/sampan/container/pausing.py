"""Pause and resume: all processes of a container stand still, by the freezer of its cgroup."""

from __future__ import annotations

from sampan.container.status import PAUSED, cgroup_of, oci_state
from sampan.container.store import RUNNING
from sampan.core.errors import Precondition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry


def pause(entry: Entry) -> None:
    """Freezes a running container.

    Raises:
        Precondition: it does not run. Unimplemented: the host has no freezer. TimedOut: it does not stand still.
    """
    with entry.lock():
        _require(entry, RUNNING)
        cgroup_of(entry.container, entry.spec).freeze()


def resume(entry: Entry) -> None:
    """Lets a paused container go on.

    Raises:
        Precondition: it is not paused.
    """
    with entry.lock():
        _require(entry, PAUSED)
        cgroup_of(entry.container, entry.spec).thaw()


def _require(entry: Entry, wanted: str) -> None:
    status = oci_state(entry).status
    if status != wanted:
        raise Precondition(f"container {entry.container.id} is {status}, not {wanted}")
