"""The state of a container as often as somebody asks, at the price of two looks at its folder."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from sampan.container.records import RECORD_SECONDS, State
from sampan.container.store import EXITED, RUNNING
from sampan.core.errors import NotFound, SampanError
from sampan.linux.processes import is_same, start_time

if TYPE_CHECKING:
    from sampan.container.records import Running
    from sampan.container.store import Entry

    Version = tuple[int, int, int] | None

DOCUMENTS = ("running.json", "exit.json")


class Watch:
    """One container's state; what is known of it counts until one of its documents changes or its process ends.

    Args:
        entry: None for one whose documents cannot be read, which has no state.

    Attributes:
        last_run: the process that was seen running last.
    """

    def __init__(self, entry: Entry | None) -> None:
        self._entry = entry
        self._seen: tuple[tuple[Version, ...], State] | None = None
        self._unrecorded_since = 0.0
        self.last_run: Running | None = None

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
            if state.status == EXITED and not self._entry.has_exit_record():
                if self._is_about_to_be_recorded(state.running):
                    return State(RUNNING, state.running)
                state = self._entry.state()  # it may have been recorded in between
        except SampanError:
            return None
        self._seen = versions, state
        if state.status == RUNNING:
            self.last_run = state.running
        return state

    def _is_about_to_be_recorded(self, run: Running | None) -> bool:
        """Whether a process has ended and was not reaped: its parent writes down how it ended before it does that.

        Until then the end is a guess, which a kubelet would keep for good.
        """
        try:
            if run is None or start_time(run.pid) != run.start_time:
                return False
        except NotFound:
            return False
        self._unrecorded_since = self._unrecorded_since or time.monotonic()
        return time.monotonic() - self._unrecorded_since < RECORD_SECONDS


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
