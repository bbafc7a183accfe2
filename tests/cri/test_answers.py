"""How an end is told in CRI's words."""

from __future__ import annotations

import pytest

from sampan.container.records import Exit, Running, State
from sampan.container.store import CREATED, EXITED, RUNNING
from sampan.doors.cri.answers import Ending, ending_of, has_labels, merge_resources
from sampan.doors.cri.api import runtime_pb2 as api

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


def test_all_labels_of_a_selector_must_be_there() -> None:
    labels = {"a": "1", "b": "2"}
    assert has_labels(labels, {})
    assert has_labels(labels, {"a": "1"})
    assert not has_labels(labels, {"a": "1", "b": "3"})
    assert not has_labels(labels, {"c": ""})


def test_resources_that_are_not_named_stay() -> None:
    page = api.HugepageLimit
    old = api.LinuxContainerResources(
        cpu_shares=2,
        cpuset_cpus="0",
        hugepage_limits=[page(page_size="2MB", limit=1), page(page_size="1GB", limit=1)],
    )
    new = api.LinuxContainerResources(cpu_shares=5, hugepage_limits=[page(page_size="2MB", limit=4)])
    merge_resources(old, new)
    assert (old.cpu_shares, old.cpuset_cpus) == (5, "0")
    assert {each.page_size: each.limit for each in old.hugepage_limits} == {"2MB": 4, "1GB": 1}
