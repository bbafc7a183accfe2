"""GetContainerEvents of real containers: each change once, in order, also after a restart; the slow are dropped."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from sampan.container import ending
from sampan.core.errors import Exhausted, NotFound
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.observing.announcing import Announced
from sampan.doors.cri.observing.events import CREATED, DELETED, STARTED, STOPPED, Events, Subscription
from sampan.doors.cri.pods.runtime import Runtime

from ..waiting import until
from .conftest import PodWorld

Told = tuple[str, int]


class Context:
    """A caller's, as far as a subscription needs it."""

    def __init__(self, is_there: bool = True) -> None:
        self._is_there = is_there

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return self._is_there


class AnnouncedWorld(PodWorld):
    """A node whose calls are announced."""

    announced: Announced

    def restart(self) -> Runtime:
        if hasattr(self, "announced"):
            self.announced.close()
        runtime = super().restart()
        self.announced = Announced(runtime)
        self.runtime = Both(self.announced, runtime)  # type: ignore[assignment]
        return self.runtime

    def subscribe(self) -> Subscription:
        return self.announced.get_container_events(api.GetEventsRequest(), Context())  # type: ignore[arg-type]

    def close(self) -> None:
        super().close()
        self.announced.close()


class Both:
    """The calls of `announced`, and all else of the runtime."""

    def __init__(self, announced: Announced, runtime: Runtime) -> None:
        self._announced = announced
        self._runtime = runtime

    def __getattr__(self, name: str) -> object:
        return getattr(self._announced, name, None) or getattr(self._runtime, name)


@pytest.fixture
def world(tmp_path: Path, shared_code: Path) -> Iterator[AnnouncedWorld]:
    world = AnnouncedWorld(tmp_path, shared_code)
    yield world
    world.close()


def take(subscription: Subscription, count: int, seconds: float = 20) -> list[api.ContainerEventResponse]:
    """That many events; it fails where they do not come."""
    found: list[api.ContainerEventResponse] = []
    reader = Thread(target=lambda: found.extend(next(subscription) for _ in range(count)), daemon=True)
    reader.start()
    reader.join(seconds)
    assert len(found) == count, [told(event) for event in found]
    return found


def told(event: api.ContainerEventResponse) -> Told:
    return event.container_id, event.container_event_type


def test_the_life_of_a_pod_is_told_in_order(world: AnnouncedWorld) -> None:
    listener = world.subscribe()
    pod = world.run_pod("web")
    container = world.start_new(pod, "sleep", "100000")
    world.stop(container)
    world.stop(container)
    world.runtime.remove_container(api.RemoveContainerRequest(container_id=container))
    world.stop_pod(pod)
    world.stop_pod(pod)
    world.remove_pod(pod)
    world.remove_pod(pod)
    events = take(listener, 8)
    assert [told(event) for event in events] == [
        (pod, CREATED), (pod, STARTED),
        (container, CREATED), (container, STARTED), (container, STOPPED), (container, DELETED),
        (pod, STOPPED), (pod, DELETED),
    ]  # fmt: skip
    times = [event.created_at for event in events]
    assert times == sorted(times)
    assert {event.pod_sandbox_status.metadata.uid for event in events} == {"uid-web"}
    states = [[(c.id, c.state) for c in event.containers_statuses] for event in events]
    assert states[2:6] == [
        [(container, api.CONTAINER_CREATED)],
        [(container, api.CONTAINER_RUNNING)],
        [(container, api.CONTAINER_EXITED)],
        [],
    ]
    assert [event.pod_sandbox_status.state for event in events[-2:]] == [api.SANDBOX_NOTREADY] * 2
    listener.close()
    assert list(listener) == []


@pytest.mark.parametrize(
    ("args", "code", "reason"), [(["exit", "3"], 3, "Error"), (["echo", "x"], 0, "Completed")]
)
def test_an_end_by_itself_is_told_once_with_its_code(
    world: AnnouncedWorld, args: list[str], code: int, reason: str
) -> None:
    listener = world.subscribe()
    pod = world.run_pod()
    container = world.start_new(pod, *args)
    events = take(listener, 5)
    assert [told(event) for event in events[2:]] == [
        (container, CREATED), (container, STARTED), (container, STOPPED),
    ]  # fmt: skip
    status = events[-1].containers_statuses[0]
    assert (status.state, status.exit_code, status.reason) == (api.CONTAINER_EXITED, code, reason)
    world.remove_pod(pod)
    assert [told(event) for event in take(listener, 3)] == [
        (container, DELETED),
        (pod, STOPPED),
        (pod, DELETED),
    ]


def test_a_kill_from_outside_is_told_with_its_record(world: AnnouncedWorld) -> None:
    pod = world.run_pod()
    container = world.start_new(pod, "sleep", "100000")
    listener = world.subscribe()
    run = world.runtime.container(container).running
    assert run is not None
    os.kill(run.pid, signal.SIGKILL)
    (event,) = take(listener, 1)
    assert told(event) == (container, STOPPED)
    assert event.containers_statuses[0].exit_code == 137
    assert event.containers_statuses[0].finished_at >= run.started


def test_a_server_that_was_started_anew_tells_the_end_of_what_runs(world: AnnouncedWorld) -> None:
    pod = world.run_pod()
    goes, stays = (world.start_new(pod, "sleep", "100000", name=name) for name in ("goes", "stays"))
    world.restart()
    listener = world.subscribe()
    ending.kill(world.runtime.container(goes), world.roots, signal.SIGKILL)
    assert [told(event) for event in take(listener, 1)] == [(goes, STOPPED)]
    world.stop(stays)
    assert [told(event) for event in take(listener, 1)] == [(stays, STOPPED)]


def test_a_pod_that_is_removed_as_it_runs_is_told_whole(world: AnnouncedWorld) -> None:
    listener = world.subscribe()
    pod = world.run_pod()
    container = world.start_new(pod, "sleep", "100000")
    world.remove_pod(pod)
    events = [told(event) for event in take(listener, 8)]
    assert events[4:] == [(container, STOPPED), (container, DELETED), (pod, STOPPED), (pod, DELETED)]


def test_many_ends_at_once_are_each_told_once_to_each_listener(world: AnnouncedWorld) -> None:
    pod = world.run_pod()
    listeners = [world.subscribe() for _ in range(3)]
    containers = [world.start_new(pod, "sleep", "100000", name=f"c{n}") for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(world.stop, containers))
    for listener in listeners:
        counted = Counter(told(event) for event in take(listener, 18))
        assert counted == Counter((c, kind) for c in containers for kind in (CREATED, STARTED, STOPPED))


class TestListeners:
    @staticmethod
    def events(describe: Callable[[str], object] | None = None, most: int = 4) -> Events:
        status = api.PodSandboxStatus(id="p", metadata=api.PodSandboxMetadata(uid="u"))
        return Events(describe or (lambda pod: (status, [])), most)  # type: ignore[arg-type]

    def test_K12_a_slow_listener_is_dropped_with_an_error_and_others_go_on(self) -> None:
        events = self.events()
        slow, quick = events.subscribe(), events.subscribe()
        for number in range(20):
            events.publish(CREATED, str(number), "p")
            assert next(quick).container_id == str(number)
        with pytest.raises(Exhausted, match="4 events were not read"):
            next(slow)
        with pytest.raises(StopIteration):
            next(slow)
        events.close()

    def test_nobody_is_asked_where_nobody_listens(self) -> None:
        asked: list[str] = []

        def describe(pod: str) -> object:
            asked.append(pod)
            raise NotFound("no such pod")

        events = self.events(describe)
        events.publish(CREATED, "c", "p")
        assert asked == []
        listener = events.subscribe()
        events.publish(CREATED, "c", "p")
        assert asked == ["p"]
        listener.close()
        events.publish(CREATED, "c", "p")
        assert asked == ["p"]
        events.close()

    def test_a_reader_that_waits_is_ended_from_another_thread(self) -> None:
        events = self.events()
        listener = events.subscribe()
        read: list[object] = []
        reader = Thread(target=lambda: read.extend(listener), daemon=True)
        reader.start()
        events.publish(CREATED, "c", "p")
        until(lambda: read)
        events.close()
        reader.join(10)
        assert not reader.is_alive()
        assert len(read) == 1

    def test_a_caller_that_is_gone_already_gets_nothing(self) -> None:
        events = self.events()
        assert list(events.get_container_events(api.GetEventsRequest(), Context(False))) == []  # type: ignore[arg-type]
        events.close()
