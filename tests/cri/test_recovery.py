"""A server that was killed anywhere, and the next one; rows F5, F10, C23, K4, X9."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sampan.container import podspaces
from sampan.core.errors import DataLoss, Exhausted, Exists, SampanError
from sampan.doors.cri.api import runtime_pb2 as api

from ..waiting import until
from .conftest import PodWorld

STRIDE = int(
    os.environ.get("SAMPAN_KILL_STRIDE", "31")
)  # a server is killed at every so many steps of a pod's life
PARENT = f"sampan-kill-{os.getpid()}"
LINUX = api.LinuxPodSandboxConfig(cgroup_parent=f"/{PARENT}/pod")


def whole_life(world: PodWorld) -> None:
    pod_id = world.run_pod(linux=LINUX)
    container_id = world.start_new(pod_id, "sleep", "100")
    world.stop(container_id, 10)
    world.start_new(pod_id, "sleep", "100", name="second")
    world.runtime.remove_container(api.RemoveContainerRequest(container_id=container_id))
    world.stop_pod(pod_id)
    world.remove_pod(pod_id)


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Whether `work`, in a process of its own, was killed before its step: a call that opens, makes, moves, removes."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def count(event: str, _: object) -> None:
            if event.startswith(("open", "os.", "fcntl.")):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0


def run_as_a_kubelet(world: PodWorld) -> str:
    """Once what a kubelet does to have a pod with a running container; the container's id.

    It looks what is there first, and gives what it makes anew the next attempt.
    """
    ready = [pod for pod in world.pods() if pod.state == api.SANDBOX_READY]
    if ready:
        pod_id = ready[0].id
    else:
        attempt = 1 + max((pod.metadata.attempt for pod in world.pods()), default=-1)
        metadata = api.PodSandboxMetadata(name="web", namespace="default", uid="uid-web", attempt=attempt)
        pod_id = world.run_pod(metadata=metadata, linux=LINUX)
    containers = [c for c in world.listed(pod_sandbox_id=pod_id) if c.metadata.name == "main"]
    running = [c.id for c in containers if c.state == api.CONTAINER_RUNNING]
    attempt = 1 + max((c.metadata.attempt for c in containers), default=-1)
    return running[0] if running else world.start_new(pod_id, "sleep", "100", attempt=attempt)


def check_convergence(world: PodWorld) -> None:
    """A kubelet has its pod after two tries, and nothing is left once it has taken it away."""
    world.restart()
    for _ in range(2):
        try:
            container_id = run_as_a_kubelet(world)
        except SampanError:
            continue
        break
    else:
        raise AssertionError("two tries were not enough")
    assert world.status(container_id).state == api.CONTAINER_RUNNING
    for pod in world.pods():
        world.stop_pod(pod.id)
        world.remove_pod(pod.id)
    assert world.listed() == []
    assert world.left() == []


def test_F5_a_server_killed_at_any_step_leaves_what_a_kubelet_can_go_on_from(world: PodWorld) -> None:
    with parent_cgroup():
        world.start_new(world.run_pod("warm"), "echo")  # the zygote is there, and the code is compiled
        world.remove_pod(world.pods()[0].id)
        step = 1
        while killed_at(step, lambda: whole_life(world)):
            check_convergence(world)
            assert list(cgroups_below_parent()) == []
            step += STRIDE
        assert step > 100
        assert world.left() == []


@contextmanager
def parent_cgroup() -> Iterator[None]:
    """What a kubelet would have made above all pods."""
    parents = [f"/sys/fs/cgroup/{name}/{PARENT}" for name in os.listdir("/sys/fs/cgroup")]
    parents = [path for path in parents if os.path.exists(f"{os.path.dirname(path)}/cgroup.procs")]
    for path in parents or [f"/sys/fs/cgroup/{PARENT}"]:
        os.makedirs(path, exist_ok=True)
    try:
        yield
    finally:
        for path in parents or [f"/sys/fs/cgroup/{PARENT}"]:
            if not os.path.islink(os.path.dirname(path)) and os.path.exists(path):
                os.rmdir(path)


def cgroups_below_parent() -> Iterator[str]:
    for base, folders, _ in os.walk("/sys/fs/cgroup"):
        if base.endswith(f"/{PARENT}"):
            yield from (f"{base}/{folder}" for folder in folders)


class FullDisk:
    """Lets one call that makes a file or a folder in this process fail, the one of this number."""

    def __init__(self, number: int, error: int) -> None:
        self.left = number
        self._error = error
        self._open, self._mkdir = os.open, os.mkdir

    def _count(self, path: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self._error, os.strerror(self._error), str(path))

    def open(self, path: str, flags: int, *rest: int, **options: int) -> int:
        if flags & os.O_CREAT:
            self._count(path)
        return self._open(path, flags, *rest, **options)

    def mkdir(self, path: str, *rest: int, **options: int) -> None:
        self._count(path)
        self._mkdir(path, *rest, **options)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EMFILE])
def test_F12_a_call_that_finds_no_room_says_so_and_can_be_made_again(
    world: PodWorld, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    world.start_new(world.run_pod("warm"), "echo")
    world.remove_pod(world.pods()[0].id)
    for number in itertools.count(1):
        disk = FullDisk(number, error)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", disk.open)
            patch.setattr(os, "mkdir", disk.mkdir)
            try:
                whole_life(world)
            except Exhausted:
                pass
        for pod in world.pods():
            world.stop_pod(pod.id)
            world.remove_pod(pod.id)
        assert (world.left(), world.listed()) == ([], [])
        if disk.left > 0:
            assert number > 20
            break


def test_F12_on_a_full_disk_everything_can_be_stopped_and_removed(
    world: PodWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod_id, second = world.run_pod(), world.run_pod("second")
    container_id = world.start_new(pod_id, "sleep", "100")
    world.start_new(second, "sleep", "100")
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Exhausted):
            world.create(pod_id, "echo", name="late")
        world.stop(container_id, 10)
        assert world.status(container_id).exit_code == 143
        world.stop_pod(pod_id)
        assert world.pod_status(pod_id).state == api.SANDBOX_NOTREADY
        world.remove_pod(pod_id)
        world.remove_pod(second)
    assert world.left() == []


def test_a_new_server_knows_what_the_old_one_knew(world: PodWorld) -> None:
    first, second = world.run_pod("web"), world.run_pod("db")
    running = world.start_new(first, "sleep", "100")
    created = world.create(second, "echo")
    world.stop_pod(second)
    before = world.pods(), world.listed(), world.status(running), world.pod_status(first)
    world.restart()
    assert (world.pods(), world.listed(), world.status(running), world.pod_status(first)) == before
    with pytest.raises(Exists, match=first):
        world.run_pod("web")
    with pytest.raises(Exists, match=running):
        world.create(first)
    world.stop(running)
    assert world.status(running).exit_code == 137
    assert world.status(created).state == api.CONTAINER_CREATED


def test_a_reboot_ends_sandboxes_and_containers(world: PodWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    pod_id = world.run_pod()
    container_id = world.start_new(pod_id, "sleep", "100")
    entry = world.runtime.container(container_id)
    run = entry.running
    assert run is not None
    os.kill(run.pid, signal.SIGKILL)
    until_gone(run.pid)
    path = f"{entry.folder}/running.json"
    for document in (path, f"{world.roots.data}/pods/{pod_id}/pod.json"):
        with open(document, "r+") as file:
            text = file.read().replace(run.boot_id, "0" * len(run.boot_id))
            file.seek(0)
            file.write(text)
    os.unlink(f"{entry.folder}/exit.json")
    podspaces.release(f"{world.roots.run}/pods/{pod_id}")
    world.restart()
    status = world.status(container_id)
    assert (status.state, status.exit_code, status.reason) == (api.CONTAINER_EXITED, 255, "Unknown")
    assert world.pod_status(pod_id).state == api.SANDBOX_NOTREADY
    world.remove_pod(pod_id)
    assert world.left() == []


def until_gone(pid: int) -> None:
    until(lambda: not os.path.exists(f"/proc/{pid}"))  # its parent collects it


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "garbage": lambda data: b"\0" * len(data),
    "another type": lambda data: b"[]",
    "gone": lambda data: b"",
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("document", ["pod.json", "cri.json", "container.json"])
def test_F10_a_damaged_document_breaks_no_list_and_can_be_removed(
    world: PodWorld, document: str, how: str
) -> None:
    pod_id, healthy = world.run_pod(), world.run_pod("healthy")
    container_id = world.start_new(pod_id, "sleep", "100")
    entry = world.runtime.container(container_id)
    folder = f"{world.roots.data}/pods/{pod_id}" if document == "pod.json" else entry.folder
    path = Path(f"{folder}/{document}")
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    world.restart()

    states = {pod.id: pod.state for pod in world.pods()}
    if document == "pod.json":
        assert states == {pod_id: api.SANDBOX_NOTREADY, healthy: api.SANDBOX_READY}
    else:
        (container,) = world.listed()
        assert (container.id, container.state) == (container_id, api.CONTAINER_UNKNOWN)
        status = world.status(container_id)
        assert status.state == api.CONTAINER_UNKNOWN
        assert document in status.message
        with pytest.raises(DataLoss):
            world.runtime.reopen_container_log(api.ReopenContainerLogRequest(container_id=container_id))
    run = entry.running
    assert run is not None
    world.stop_pod(pod_id)
    until_gone(run.pid)
    world.stop_pod(pod_id)
    world.remove_pod(pod_id)
    for container in world.listed():  # where not even its pod is known
        world.runtime.remove_container(api.RemoveContainerRequest(container_id=container.id))
    world.remove_pod(healthy)
    assert world.left() == []


def test_C23_a_run_that_cannot_be_read_is_unknown_and_can_be_removed(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.start_new(pod_id, "sleep", "100")
    entry = world.runtime.container(container_id)
    run = entry.running
    assert run is not None
    with open(f"{entry.folder}/running.json", "w") as file:
        file.write("{")
    assert [c.state for c in world.listed()] == [api.CONTAINER_UNKNOWN]
    assert "how it runs" in world.status(container_id).message
    world.stop(container_id)
    world.remove_pod(pod_id)
    until_gone(run.pid)
    assert world.left() == []


def test_X9_what_has_no_record_any_more_is_given_back(world: PodWorld) -> None:
    pod_id = world.run_pod()
    os.unlink(f"{world.roots.data}/pods/{pod_id}/pod.json")
    world.network.detach(world.runtime.pods.index.get(pod_id).pod)
    world.restart()
    assert world.pods() == []
    assert world.left() == []
