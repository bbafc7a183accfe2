"""How an end is told in CRI's words."""

from __future__ import annotations

import pytest

from sampan.container.records import Exit, Running, State
from sampan.container.store import CREATED, EXITED, RUNNING
from sampan.doors.cri.pods.answers import Ending, ending_of

RUN = Running(7, 1, "boot", 1000)


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        (State(CREATED), Ending()),
        (State(RUNNING, RUN), Ending(started=1000)),
        (State(EXITED, RUN, Exit(0, "exited", 2000)), Ending(0, "Completed", "", 1000, 2000)),
        (State(EXITED, RUN, Exit(3, "exited", 2000)), Ending(3, "Error", "", 1000, 2000)),
        (State(EXITED, RUN, Exit(134, "trap", 2000, "why")), Ending(134, "Error", "why", 1000, 2000)),
        (State(EXITED, RUN, Exit(137, "oom", 2000)), Ending(137, "OOMKilled", "", 1000, 2000)),
        (State(EXITED, RUN, Exit(137, "memory", 2000)), Ending(137, "OOMKilled", "", 1000, 2000)),
        (State(EXITED, RUN, Exit(137, "killed", 2000)), Ending(137, "Error", "", 1000, 2000)),
        (State(EXITED, RUN, Exit(137, "lost", 1000, "gone")), Ending(255, "Unknown", "gone", 1000, 1000)),
        (State(EXITED, None, Exit(127, "error", 2000, "why")), Ending(128, "StartError", "why", 0, 2000)),
        (State(EXITED, RUN, Exit(125, "error", 2000, "why")), Ending(125, "Error", "why", 1000, 2000)),
        (State(EXITED, RUN, Exit(0, "exited", 900)), Ending(0, "Completed", "", 1000, 1000)),
    ],
)
def test_each_end_has_its_reason(state: State, ending: Ending) -> None:
    assert ending_of(state) == ending
