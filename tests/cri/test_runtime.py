"""Calls that meet each other, and what other parts of the server ask of the runtime; rows K4, K5, K12, F5."""

from __future__ import annotations

import itertools
import threading

import pytest

from sampan.core.errors import Exists, Invalid, NotFound, Precondition, SampanError
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.pods.runtime import Runtime
from sampan.doors.cri.routing.router import METHODS

from .conftest import PodWorld
from .test_pods import NO_NETWORK, at_once

OURS = [
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "PodSandboxStatus",
    "ListPodSandbox",
    "UpdatePodSandboxResources",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "ContainerStatus",
    "ListContainers",
    "UpdateContainerResources",
    "ReopenContainerLog",
    "CheckpointContainer",
]


def test_each_call_has_a_method_that_takes_its_request_and_gives_its_answer(world: PodWorld) -> None:
    """Empty requests are enough to see that: no error where the API wants none."""
    for name in OURS:
        method = getattr(
            world.runtime, "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        )
        request = getattr(api, METHODS[name].input_type.name)()
        try:
            answer = method(request)
        except (NotFound, Invalid):
            assert not name.startswith(("Stop", "Remove", "List"))
        else:
            assert answer.DESCRIPTOR is METHODS[name].output_type


def test_K5_a_container_that_meets_the_removal_of_its_sandbox_goes_with_it_or_is_refused(
    world: PodWorld,
) -> None:
    for round_ in range(8):
        pod_id = world.run_pod(f"p{round_}", linux=NO_NETWORK)
        numbers = itertools.count()
        begun = threading.Event()

        def act(
            pod_id: str = pod_id, numbers: itertools.count[int] = numbers, begun: threading.Event = begun
        ) -> str:
            number = next(numbers)
            if number == 7:
                begun.wait(10)
                world.remove_pod(pod_id)
                return ""
            container_id = world.create(pod_id, "echo", name=f"c{number}")
            begun.set()
            return container_id

        answers = at_once(act, 8)
        assert all(isinstance(answer, (str, NotFound, Precondition)) for answer in answers)
        assert (world.listed(), world.pods()) == ([], [])
    assert world.left() == []


def test_a_container_that_meets_the_stop_of_its_sandbox_does_not_run_on(world: PodWorld) -> None:
    for round_ in range(6):
        pod_id = world.run_pod(f"p{round_}", linux=NO_NETWORK)
        container_id = world.create(pod_id, "sleep", "100")
        numbers = itertools.count()

        def act(
            pod_id: str = pod_id, container_id: str = container_id, numbers: itertools.count[int] = numbers
        ) -> None:
            if next(numbers):
                world.runtime.start_container(api.StartContainerRequest(container_id=container_id))
            else:
                world.stop_pod(pod_id)

        at_once(act, 2)
        assert world.status(container_id).state != api.CONTAINER_RUNNING
        world.remove_pod(pod_id)


def test_all_calls_of_a_life_at_once_end_in_an_answer_or_an_error_of_ours(world: PodWorld) -> None:
    def life(number: int) -> None:
        try:
            pod_id = world.run_pod(f"p{number % 4}", linux=NO_NETWORK)
        except Exists as error:
            pod_id = str(error).rsplit(" ", 1)[1]
        try:
            container_id = world.start_new(pod_id, "sleep", "100")
            world.stop(container_id)
            world.status(container_id)
        except (Exists, NotFound, Precondition):
            pass
        world.stop_pod(pod_id)
        world.remove_pod(pod_id)

    numbers = itertools.count()
    answers = at_once(lambda: life(next(numbers)), 16)
    assert [answer for answer in answers if isinstance(answer, SampanError)] == []
    assert world.left() == []


def test_K12_lists_go_on_while_pods_come_and_go(world: PodWorld) -> None:
    stop = threading.Event()
    errors: list[Exception] = []

    def look() -> None:
        while not stop.is_set():
            try:
                for pod in world.pods():
                    assert len(pod.id) == 64
                for container in world.listed():
                    assert container.pod_sandbox_id
            except Exception as error:
                errors.append(error)
                return

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for number in range(12):
            pod_id = world.run_pod(f"p{number}", linux=NO_NETWORK)
            world.create(pod_id, "echo")
            world.remove_pod(pod_id)
    finally:
        stop.set()
        for looker in lookers:
            looker.join()
    assert errors == []


def test_what_streams_need_is_told(world: PodWorld) -> None:
    pod_id, host = world.run_pod(), world.run_pod("host", linux=NO_NETWORK)
    container_id = world.create(pod_id, "stdin", stdin=True, stdin_once=True)
    other = world.create(pod_id, "stdin", name="other", stdin=True)
    assert world.runtime.container(container_id[:16]).container.id == container_id
    assert world.runtime.has_stdin_once(container_id)
    assert not world.runtime.has_stdin_once(other)
    assert world.runtime.netns(pod_id) == f"{world.roots.run}/pods/{pod_id}/net"
    assert world.runtime.netns(host) == ""
    world.stop_pod(pod_id)
    with pytest.raises(Precondition):
        world.runtime.netns(pod_id)
    with pytest.raises(NotFound):
        world.runtime.netns("f" * 64)
    with pytest.raises(NotFound):
        world.runtime.container("f" * 64)


def test_a_containers_id_may_be_cut_short(world: PodWorld) -> None:
    container_id = world.create(world.run_pod(), "echo")
    runtime: Runtime = world.runtime
    assert runtime.has_container(container_id[:12])
    assert not runtime.has_container("x")
    assert world.status(container_id[:12]).id == container_id
    runtime.remove_container(api.RemoveContainerRequest(container_id=container_id[:12]))
    assert not runtime.has_container(container_id)


def test_the_status_of_a_pod_has_those_of_its_containers(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.start_new(pod_id, "sleep", "100")
    response = world.runtime.pod_sandbox_status(api.PodSandboxStatusRequest(pod_sandbox_id=pod_id))
    assert list(response.containers_statuses) == [world.status(container_id)]
    assert response.timestamp >= response.containers_statuses[0].started_at
