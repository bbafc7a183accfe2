"""Containers of pods: real ones, from their creation to their removal; rows K2, K3, K5, K7, K12, K13, C9, F15, X9."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from sampan.container import ending
from sampan.container.logs import STDOUT, parse_line, read_log
from sampan.core.errors import Exists, Invalid, NotFound, Precondition, SampanError, Unimplemented
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.linux.cgroups import Cgroup
from sampan.linux.processes import is_same

from ..waiting import until
from .conftest import DIGEST, IMAGE, PodWorld
from .test_pods import at_once

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout F (.*)\n")


def start(world: PodWorld, container_id: str) -> None:
    world.runtime.start_container(api.StartContainerRequest(container_id=container_id))


def remove(world: PodWorld, container_id: str) -> None:
    world.runtime.remove_container(api.RemoveContainerRequest(container_id=container_id))


def limits(**values: object) -> api.LinuxContainerConfig:
    return api.LinuxContainerConfig(resources=api.LinuxContainerResources(**values))  # type: ignore[arg-type]


def test_a_life_from_created_to_removed(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.create(pod_id, "tick", labels={"tier": "back"}, annotations={"a": "b"})
    status = world.status(container_id)
    assert status.state == api.CONTAINER_CREATED
    assert (status.started_at, status.finished_at, status.reason) == (0, 0, "")
    assert (dict(status.labels), dict(status.annotations)) == ({"tier": "back"}, {"a": "b"})
    assert (status.image.image, status.image_ref, status.image_id) == (
        IMAGE,
        f"localhost/toolbox@{DIGEST}",
        DIGEST,
    )

    start(world, container_id)
    status = world.status(container_id)
    assert status.state == api.CONTAINER_RUNNING
    assert status.created_at < status.started_at < time.time_ns()
    assert status.finished_at == 0
    assert status.stop_signal == api.SIGNAL_SIGTERM
    assert status.user.linux.uid == 0

    world.stop(container_id, 10)
    status = world.status(container_id)
    assert (status.state, status.exit_code, status.reason) == (api.CONTAINER_EXITED, 143, "Error")
    assert status.started_at < status.finished_at < time.time_ns()

    remove(world, container_id)
    with pytest.raises(NotFound):
        world.status(container_id)
    assert world.listed() == []


@pytest.mark.parametrize(
    ("args", "code", "reason", "message"),
    [
        (["exit", "0"], 0, "Completed", ""),
        (["exit", "37"], 37, "Error", ""),
        (["trap"], 134, "Error", "unreachable"),
    ],
)
def test_how_it_ended_is_told(world: PodWorld, args: list[str], code: int, reason: str, message: str) -> None:
    status = world.ended(world.start_new(world.run_pod(), *args))
    assert (status.state, status.exit_code, status.reason) == (api.CONTAINER_EXITED, code, reason)
    assert message in status.message


def test_F15_what_the_memory_limit_killed_is_OOMKilled(world: PodWorld) -> None:
    container_id = world.start_new(
        world.run_pod(), "grow", "2048", linux=limits(memory_limit_in_bytes=64 << 20)
    )
    status = world.ended(container_id)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def test_what_cannot_be_started_has_exited_with_StartError(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.create(pod_id, command=["/no-such.wasm"])
    with pytest.raises(SampanError, match=r"no-such\.wasm"):
        start(world, container_id)
    status = world.status(container_id)
    assert (status.state, status.exit_code, status.reason) == (api.CONTAINER_EXITED, 128, "StartError")
    assert "no-such.wasm" in status.message
    assert status.finished_at > 0
    with pytest.raises(Precondition):
        start(world, container_id)


def test_the_log_is_where_the_caller_wants_it(world: PodWorld, tmp_path: Path) -> None:
    pod_id = world.run_pod(log_directory=str(tmp_path / "logs"))
    container_id = world.start_new(pod_id, "echo", "hello", log_path="main/0.log")
    status = world.ended(container_id)
    assert status.log_path == str(tmp_path / "logs/main/0.log")
    match = LINE.fullmatch(Path(status.log_path).read_bytes())
    assert match is not None
    assert match[1] == b"hello"
    remove(world, container_id)
    assert os.path.exists(status.log_path)


@pytest.mark.parametrize("log_path", ["", "0.log"])
def test_where_nobody_names_a_log_folder_there_is_one_of_ours(world: PodWorld, log_path: str) -> None:
    container_id = world.start_new(world.run_pod(), "echo", "hello", log_path=log_path)
    path = world.ended(container_id).log_path
    assert path.startswith(f"{world.roots.containers}/{container_id}/")
    lines = [parse_line(line, path) for line in Path(path).read_bytes().splitlines()]
    assert b"".join(line.content for line in lines) == b"hello\n"
    running = world.start_new(world.run_pod("other"), "sleep", "100")
    world.runtime.reopen_container_log(api.ReopenContainerLogRequest(container_id=running))


@pytest.mark.parametrize("log_path", ["../../x", "a/../../x", "/etc/x"])
def test_K7_a_log_path_outside_the_log_directory_is_refused(
    world: PodWorld, tmp_path: Path, log_path: str
) -> None:
    pod_id = world.run_pod(log_directory=str(tmp_path / "logs"))
    with pytest.raises(Invalid, match="log path"):
        world.create(pod_id, "echo", log_path=log_path)
    assert world.listed() == []


def test_K7_a_log_folder_that_is_a_link_leads_nowhere(world: PodWorld, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "logs/main").symlink_to(tmp_path / "outside")
    pod_id = world.run_pod(log_directory=str(tmp_path / "logs"))
    with pytest.raises(SampanError):
        world.start_new(pod_id, "echo", "hello", log_path="main/0.log")
    assert os.listdir(tmp_path / "outside") == []


def test_K7_a_log_folder_that_was_removed_is_made_again(world: PodWorld, tmp_path: Path) -> None:
    pod_id = world.run_pod(log_directory=str(tmp_path / "logs"))
    assert not (tmp_path / "logs").exists()
    world.ended(world.start_new(pod_id, "echo", "hello", log_path="0.log"))
    assert b"hello" in (tmp_path / "logs/0.log").read_bytes()


def test_the_log_goes_on_in_a_new_file(world: PodWorld, tmp_path: Path) -> None:
    pod_id = world.run_pod(log_directory=str(tmp_path))
    container_id = world.start_new(pod_id, "tick", "100000", "20", log_path="0.log")
    until(lambda: (tmp_path / "0.log").read_bytes())
    (tmp_path / "0.log").rename(tmp_path / "0.log.old")
    world.runtime.reopen_container_log(api.ReopenContainerLogRequest(container_id=container_id))
    until(lambda: (tmp_path / "0.log").read_bytes())
    world.stop(container_id)
    with pytest.raises(Precondition, match="not running"):
        world.runtime.reopen_container_log(api.ReopenContainerLogRequest(container_id=container_id))
    lines = (tmp_path / "0.log.old").read_bytes() + (tmp_path / "0.log").read_bytes()
    ticks = [int(line.rsplit(b" ", 1)[1]) for line in lines.splitlines()]
    assert ticks == list(range(len(ticks)))


def test_K5_what_cannot_be_a_container_is_refused_by_what_is_wrong(world: PodWorld) -> None:
    pod_id = world.run_pod()
    good = world.container_request(pod_id)
    nameless = api.CreateContainerRequest(
        pod_sandbox_id=pod_id, config=api.ContainerConfig(image=good.config.image)
    )
    with pytest.raises(Invalid, match="metadata"):
        world.runtime.create_container(nameless)
    metadata = good.config.metadata
    empty = api.CreateContainerRequest(pod_sandbox_id=pod_id, config=api.ContainerConfig(metadata=metadata))
    with pytest.raises(Invalid, match="image"):
        world.runtime.create_container(empty)
    with pytest.raises(NotFound, match="pod sandbox"):
        world.create("f" * 64)
    with pytest.raises(NotFound, match="other"):
        world.create(pod_id, image=api.ImageSpec(image="localhost/other:1"))
    world.create(pod_id)  # none of these has taken the name
    assert len(os.listdir(world.roots.containers)) == 2  # with the lock


def test_K5_a_stopped_sandbox_takes_no_containers(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.create(pod_id)
    world.stop_pod(pod_id)
    with pytest.raises(Precondition, match=pod_id):
        world.create(pod_id, name="late")
    with pytest.raises(Precondition, match=pod_id):
        start(world, container_id)


def test_the_same_name_twice_names_the_one_that_is_there(world: PodWorld) -> None:
    pod_id, other = world.run_pod(), world.run_pod("other")
    container_id = world.create(pod_id)
    with pytest.raises(Exists, match=container_id):
        world.create(pod_id)
    world.create(pod_id, attempt=1)
    world.create(other)
    remove(world, container_id)
    world.create(pod_id)


def test_the_same_name_sixteen_times_at_once_makes_one(world: PodWorld) -> None:
    pod_id = world.run_pod()
    answers = at_once(lambda: world.create(pod_id))
    made = [answer for answer in answers if isinstance(answer, str)]
    assert [container.id for container in world.listed()] == made
    assert sum(isinstance(answer, Exists) for answer in answers) == 15


def test_C9_it_is_started_once(world: PodWorld) -> None:
    container_id = world.create(world.run_pod(), "sleep", "100")
    answers = at_once(lambda: start(world, container_id))
    assert answers.count(None) == 1
    assert sum(isinstance(answer, Precondition) for answer in answers) == 15
    world.stop(container_id)
    with pytest.raises(Precondition, match="exited"):
        start(world, container_id)


@pytest.mark.parametrize("times", [2, 16])
def test_K2_stopping_again_is_no_error(world: PodWorld, times: int) -> None:
    container_id = world.create(world.run_pod(), "sleep", "100")
    world.stop(container_id, 10)
    assert world.status(container_id).state == api.CONTAINER_CREATED
    start(world, container_id)
    assert at_once(lambda: world.stop(container_id, 10), times) == [None] * times
    world.stop(container_id)
    assert world.status(container_id).exit_code == 143


@pytest.mark.parametrize("times", [2, 16])
def test_K2_removing_again_is_no_error(world: PodWorld, times: int) -> None:
    container_id = world.start_new(world.run_pod(), "sleep", "100")
    assert at_once(lambda: remove(world, container_id), times) == [None] * times
    remove(world, container_id)
    assert world.listed() == []
    assert not os.path.exists(f"{world.roots.containers}/{container_id}")


def test_K2_stop_and_remove_of_unknown_are_no_error(world: PodWorld) -> None:
    world.stop("f" * 64)
    remove(world, "f" * 64)


def test_K3_all_other_calls_on_unknown_are_not_found(world: PodWorld) -> None:
    unknown = "f" * 64
    runtime = world.runtime
    for call, request in [
        (runtime.container_status, api.ContainerStatusRequest(container_id=unknown)),
        (runtime.start_container, api.StartContainerRequest(container_id=unknown)),
        (runtime.update_container_resources, api.UpdateContainerResourcesRequest(container_id=unknown)),
        (runtime.reopen_container_log, api.ReopenContainerLogRequest(container_id=unknown)),
        (runtime.checkpoint_container, api.CheckpointContainerRequest(container_id=unknown)),
    ]:
        with pytest.raises(NotFound):
            call(request)  # type: ignore[operator]


def test_a_stop_that_is_not_heeded_kills(world: PodWorld, tmp_path: Path) -> None:
    """A stopped process cannot heed any signal but SIGKILL."""
    container_id = world.start_new(world.run_pod(), "loop")
    os.kill(world.runtime.container(container_id).running.pid, 19)
    world.stop(container_id, 1)
    assert world.status(container_id).exit_code == 137


def test_a_later_stop_does_not_wait_for_an_earlier_one(world: PodWorld) -> None:
    container_id = world.start_new(world.run_pod(), "loop")
    os.kill(world.runtime.container(container_id).running.pid, 19)
    patience = iter([600, 0])
    assert at_once(lambda: world.stop(container_id, next(patience)), 2) == [None, None]
    assert world.status(container_id).exit_code == 137


def test_the_callers_stop_signal_is_sent_and_told(world: PodWorld) -> None:
    container_id = world.start_new(world.run_pod(), "sleep", "100", stop_signal=api.SIGNAL_SIGUSR1)
    assert world.status(container_id).stop_signal == api.SIGNAL_SIGUSR1
    world.stop(container_id, 10)
    assert world.status(container_id).exit_code == 128 + 10


def test_lists_are_filtered_by_id_pod_state_and_labels(world: PodWorld) -> None:
    first, second = world.run_pod("web"), world.run_pod("db")
    one = world.create(first, name="a", labels={"app": "x"})
    two = world.start_new(second, "sleep", "100", name="b", labels={"app": "x", "tier": "back"})
    assert [c.id for c in world.listed()] == [two, one]
    assert [c.id for c in world.listed(id=one[:13])] == [one]
    assert [c.id for c in world.listed(pod_sandbox_id=second)] == [two]
    running = api.ContainerStateValue(state=api.CONTAINER_RUNNING)
    (container,) = world.listed(state=running)
    assert (container.id, container.state, container.pod_sandbox_id) == (two, api.CONTAINER_RUNNING, second)
    assert (container.metadata.name, container.image.image, container.image_id) == ("b", IMAGE, DIGEST)
    assert [c.id for c in world.listed(label_selector={"tier": "back"})] == [two]
    assert world.listed(label_selector={"tier": "front"}) == []
    assert world.listed(id="no such id") == []


def test_an_end_is_seen_in_the_next_list(world: PodWorld) -> None:
    container_id = world.start_new(world.run_pod(), "sleep", "100")
    assert [c.state for c in world.listed()] == [api.CONTAINER_RUNNING]
    entry = world.runtime.container(container_id)
    os.kill(entry.running.pid, 9)
    ending.wait(entry, 30)
    assert [c.state for c in world.listed()] == [api.CONTAINER_EXITED]


def test_what_the_command_removed_is_not_listed(world: PodWorld) -> None:
    container_id = world.create(world.run_pod())
    ending.remove(world.runtime.container(container_id), world.roots)
    assert world.listed() == []
    with pytest.raises(NotFound):
        world.status(container_id)


def test_K13_resources_are_changed_at_once_and_told(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.start_new(
        pod_id, "sleep", "100", linux=limits(memory_limit_in_bytes=256 << 20, cpu_shares=512)
    )

    def update(**values: object) -> None:
        wanted = api.LinuxContainerResources(**values)  # type: ignore[arg-type]
        request = api.UpdateContainerResourcesRequest(container_id=container_id, linux=wanted)
        world.runtime.update_container_resources(request)

    update(memory_limit_in_bytes=128 << 20)
    told = world.status(container_id).resources.linux
    assert (told.memory_limit_in_bytes, told.cpu_shares) == (128 << 20, 512)
    assert world.restart().containers.index.get(container_id).record.config.linux.resources == told
    with pytest.raises(Invalid):
        update(memory_limit_in_bytes=-5)
    with pytest.raises(Precondition):
        update(memory_limit_in_bytes=64 << 10)
    assert world.status(container_id).resources.linux == told
    world.stop(container_id)
    with pytest.raises(Precondition):
        update(memory_limit_in_bytes=64 << 20)


def test_verbose_status_tells_pid_and_spec(world: PodWorld) -> None:
    container_id = world.start_new(world.run_pod(), "sleep", "100")
    request = api.ContainerStatusRequest(container_id=container_id, verbose=True)
    info = world.runtime.container_status(request).info["info"]
    assert f'"pid":{world.runtime.container(container_id).running.pid}' in info
    assert '"runtimeSpec":{"ociVersion"' in info


def test_a_checkpoint_is_refused_by_what_it_is(world: PodWorld) -> None:
    container_id = world.create(world.run_pod())
    with pytest.raises(Unimplemented, match=container_id):
        world.runtime.checkpoint_container(api.CheckpointContainerRequest(container_id=container_id))


def test_containers_of_a_pod_share_its_namespaces(world: PodWorld) -> None:
    pod_id = world.run_pod()
    pod = world.runtime.pods.index.get(pod_id).pod
    for name in ("a", "b"):
        pid = world.runtime.container(world.start_new(pod_id, "sleep", "100", name=name)).running.pid
        for kind, path in pod.spaces.items():
            assert os.stat(f"/proc/{pid}/ns/{kind}").st_ino == os.stat(path).st_ino


def test_the_command_sees_them_and_their_output(world: PodWorld) -> None:
    container_id = world.start_new(world.run_pod(), "echo", "hello")
    world.ended(container_id)
    entry = world.containers.find(container_id)
    assert entry.container.name.startswith("k8s_main_web_default_uid-web")
    assert b"".join(line.content for line in read_log(entry.folder) if line.stream == STDOUT) == b"hello\n"
    assert (
        subprocess.run(["ls", entry.folder], capture_output=True, check=True).stdout.count(b"cri.json") == 1
    )


def test_K12_a_long_list_reads_only_what_can_change(world: PodWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    pod_id = world.run_pod()
    made = [world.create(pod_id, name=f"c{number}") for number in range(40)]
    world.listed()
    opened: list[str] = []
    real = os.open

    def counting(path, *rest, **options):
        opened.append(str(path))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", counting)
    assert len(world.listed()) == len(made)
    assert [path for path in opened if path.startswith(world.roots.data)] == []


@pytest.mark.parametrize("ends", ["stop", "remove", "remove_pod", "containers"])
def test_X9_a_container_whose_folder_was_taken_away_is_ended(world: PodWorld, ends: str) -> None:
    pod_id = world.run_pod()
    container_id = world.start_new(pod_id, "sleep", "100000")
    assert world.status(container_id).state == api.CONTAINER_RUNNING
    run = world.containers.find(container_id).running
    assert run is not None
    shutil.rmtree(f"{world.roots.containers}/{container_id}")
    assert world.status(container_id).state != api.CONTAINER_RUNNING
    {
        "stop": lambda: world.stop(container_id),
        "remove": lambda: remove(world, container_id),
        "remove_pod": lambda: world.remove_pod(pod_id),
        "containers": lambda: world.runtime.list_containers(api.ListContainersRequest()),
    }[ends]()
    until(lambda: not is_same(run.pid, run.start_time))
    assert run.cgroup
    assert not any(os.path.exists(folder) for folder in Cgroup(run.cgroup, base="").files.all_folders())
