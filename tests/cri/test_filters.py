"""Filters of lists."""

from __future__ import annotations

import pytest

from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.filters import has_labels, selects_container, selects_pod

CONTAINER = api.Container(id="abc", pod_sandbox_id="def", labels={"app": "web"})
POD = api.PodSandbox(id="def", labels={"app": "web"})


def test_all_labels_of_a_selector_must_be_there() -> None:
    labels = {"a": "1", "b": "2"}
    assert has_labels(labels, {})
    assert has_labels(labels, {"a": "1"})
    assert not has_labels(labels, {"a": "1", "b": "3"})
    assert not has_labels(labels, {"c": ""})


@pytest.mark.parametrize("kind", [api.ContainerFilter, api.ContainerStatsFilter])
def test_a_container_is_let_through_by_all_that_is_asked_for(kind: type[api.ContainerFilter]) -> None:
    for wanted in ({}, {"id": "ab"}, {"pod_sandbox_id": "d"}, {"label_selector": {"app": "web"}}):
        assert selects_container(kind(**wanted), CONTAINER)  # type: ignore[arg-type]
    for other in ({"id": "b"}, {"pod_sandbox_id": "abc"}, {"id": "a", "label_selector": {"app": "x"}}):
        assert not selects_container(kind(**other), CONTAINER)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [api.PodSandboxFilter, api.PodSandboxStatsFilter])
def test_a_pod_is_let_through_by_all_that_is_asked_for(kind: type[api.PodSandboxFilter]) -> None:
    for wanted in ({}, {"id": "de"}, {"label_selector": {"app": "web"}}):
        assert selects_pod(kind(**wanted), POD)  # type: ignore[arg-type]
    for other in ({"id": "e"}, {"id": "d", "label_selector": {"app": "x"}}):
        assert not selects_pod(kind(**other), POD)  # type: ignore[arg-type]
