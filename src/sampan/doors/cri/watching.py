"""The state of a container as often as somebody asks, at the price of two looks at its folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.container.store import RUNNING
from sampan.core.errors import SampanError
from sampan.linux.processes import is_same

if TYPE_CHECKING:
    from sampan.container.records import State
    from sampan.container.store import Entry

    Version = tuple[int, int, int] | None

DOCUMENTS = ("running.json", "exit.json")


class Watch:
    """One container's state; what is known of it counts until one of its documents changes or its process ends.

    Args:
        entry: None for one whose documents cannot be read, which has no state.
    """

    def __init__(self, entry: Entry | None) -> None:
        self._entry = entry
        self._seen: tuple[tuple[Version, ...], State] | None = None

    def state(self) -> State | None:
        """What is known of it now; None where its documents cannot be read."""
        if self._entry is None:
            return None
        versions = tuple(_version(f"{self._entry.folder}/{name}") for name in DOCUMENTS)
        seen = self._seen
        if seen is not None and seen[0] == versions and not _has_ended(seen[1]):
            return seen[1]
        try:
            state = self._entry.state()
        except SampanError:
            return None
        self._seen = versions, state
        return state


def _version(path: str) -> Version:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _has_ended(state: State) -> bool:
    """Whether the process of a run that was going on is gone."""
    run = state.running
    return state.status == RUNNING and run is not None and not is_same(run.pid, run.start_time)
