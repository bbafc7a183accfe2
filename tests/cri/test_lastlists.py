"""What is known of pods while their runtime is away."""

from __future__ import annotations

from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.routing.lastlists import LastLists

NAME = "ListPodSandbox"
ALL = api.ListPodSandboxRequest()


def asked(**content: object) -> api.ListPodSandboxRequest:
    return api.ListPodSandboxRequest(filter=api.PodSandboxFilter(**content))  # type: ignore[arg-type]


def answer(*ids: str, state: int = 0) -> bytes:
    items = [api.PodSandbox(id=name, labels={"pod": name}, state=state) for name in ids]  # type: ignore[arg-type]
    return api.ListPodSandboxResponse(items=items).SerializeToString()


def recalled(lists: LastLists, request: api.ListPodSandboxRequest = ALL) -> list[str] | None:
    found = lists.recall(NAME, request)
    return None if found is None else sorted(pod.id for pod in found.items)  # type: ignore[attr-defined]


def test_nothing_is_known_before_there_was_a_whole_list() -> None:
    lists = LastLists()
    lists.remember(NAME, asked(label_selector={"pod": "a"}), answer("a"))
    assert recalled(lists) is None
    lists.remember(NAME, ALL, answer())
    assert recalled(lists) == []


def test_a_pod_that_is_younger_than_the_whole_list_is_known() -> None:
    lists = LastLists()
    lists.remember(NAME, ALL, answer("old"))
    lists.remember(NAME, asked(label_selector={"pod": "young"}), answer("young"))
    assert recalled(lists) == ["old", "young"]
    assert recalled(lists, asked(label_selector={"pod": "young"})) == ["young"]


def test_a_pod_that_was_looked_for_in_vain_is_gone() -> None:
    lists = LastLists()
    lists.remember(NAME, ALL, answer("a", "b"))
    lists.remember(NAME, asked(id="a"), answer())
    assert recalled(lists) == ["b"]


def test_a_pod_that_is_in_another_state_than_asked_for_is_not_gone() -> None:
    lists = LastLists()
    lists.remember(NAME, ALL, answer("a"))
    ready = api.PodSandboxStateValue(state=api.SANDBOX_READY)
    lists.remember(NAME, asked(state=ready), answer())
    assert recalled(lists) == ["a"]


def test_a_whole_list_takes_the_place_of_all_before() -> None:
    lists = LastLists()
    lists.remember(NAME, ALL, answer("a", "b"))
    lists.remember(NAME, ALL, answer("c"))
    assert recalled(lists) == ["c"]
