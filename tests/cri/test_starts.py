"""Starts that were under way when a server ended."""

from __future__ import annotations

import os

import pytest

from sampan.container import starting
from sampan.container.store import CREATED, Containers
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.pods import starts

from ..waiting import until
from .conftest import PodWorld


def test_what_runs_by_now_runs_on(world: PodWorld) -> None:
    container_id = world.start_new(world.run_pod(), "sleep", "100")
    entry = world.runtime.container(container_id)
    starts.mark_start(entry.folder)
    world.restart()
    assert world.status(container_id).state == api.CONTAINER_RUNNING
    assert not os.path.exists(f"{entry.folder}/{starts.MARK}")


def test_what_does_not_stand_soon_is_ended_and_told_so(
    world: PodWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    container_id = world.create(world.run_pod(), "sleep", "100")
    entry = world.runtime.container(container_id)
    starting.start(entry, world.roots)
    pid = entry.running.pid
    with open(f"{entry.folder}/running.json", "w"):  # as it is before the process stands
        pass
    starts.mark_start(entry.folder)
    monkeypatch.setattr(starts, "SECONDS", 0.05)
    world.restart()
    status = world.status(container_id)
    assert (status.state, status.exit_code, status.reason) == (api.CONTAINER_EXITED, 128, "StartError")
    assert not os.path.exists(f"{entry.folder}/{starts.MARK}")
    until(lambda: not os.path.exists(f"/proc/{pid}"))  # the zygote collects it


def test_what_was_never_marked_is_left_alone(world: PodWorld) -> None:
    container_id = world.create(world.run_pod(), "sleep", "100")
    world.restart()
    assert Containers(world.roots).find(container_id).status() == CREATED
