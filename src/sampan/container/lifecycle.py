"""What an OCI runtime does to a container that was created: start, kill, delete (runtime.md, "Operations").

Nobody of ours waits for these containers, and no policy starts them again. Each change holds the container's lock.
Callers wait for each of these commands: what only one of them needs is imported there.
"""

from __future__ import annotations

import os
import time

from sampan.container.records import RECORD_SECONDS
from sampan.container.status import CREATED, STOPPED, cgroup_of, oci_state, state_document
from sampan.container.store import RUNNING
from sampan.core.errors import NotFound, Precondition, SampanError
from sampan.linux import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.states import StateRoot
    from sampan.container.store import Entry

SIGKILL = 9


def begin(entry: Entry) -> None:
    """Lets the workload of a created container begin, and runs its poststart hooks (runtime.md, "Start").

    Raises:
        Precondition: it is not in state created. SampanError: the workload cannot be loaded.
    """
    from sampan.container import control
    from sampan.container.starter import raise_if_error

    with entry.lock():
        status = oci_state(entry).status
        if status != CREATED:
            raise Precondition(f"cannot start container {entry.container.id} that is {status}, not created")
        try:
            answer, _ = control.ask(entry.folder, {"do": "start"})
        except SampanError:
            raise _why_it_ended(entry) from None
        raise_if_error(answer)
    spec = entry.spec
    if spec.hooks is not None and spec.hooks.poststart:
        from sampan.container.hooks import run_hooks

        run = entry.running
        assert run is not None  # it was started
        state = state_document(entry, RUNNING, run.pid, spec.annotations)
        run_hooks("poststart", spec.hooks.poststart, state)


def _why_it_ended(entry: Entry) -> SampanError:
    """The error of a container whose process ended before its workload could begin."""
    deadline = time.monotonic() + RECORD_SECONDS
    while not entry.has_exit_record() and entry.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    record = entry.exit()
    if record is None or not record.message:
        return Precondition(f"container {entry.container.id} ended before it was started")
    return Precondition(record.message, exit_code=record.code)


def signal(entry: Entry, number: int) -> None:
    """Sends signal `number` to the process of a created or running container (runtime.md, "Kill").

    Raises:
        Precondition: it is neither.
    """
    run = entry.running
    try:
        if run is None or not entry.is_alive():
            raise NotFound("")
        processes.send_signal(run.pid, run.start_time, number)
    except NotFound:
        raise Precondition("container not running") from None


def signal_all(entry: Entry, number: int) -> None:
    """Sends signal `number` to every process of a container, also when its own has ended."""
    for pid in cgroup_of(entry.container, entry.spec).pids():
        try:
            processes.send_signal(pid, processes.start_time(pid), number)
        except NotFound:  # it ended in between
            continue


def delete(entry: Entry, states: StateRoot, *, force: bool = False) -> None:
    """Removes a container that is stopped, or was never started, and runs its poststop hooks.

    Raises:
        Precondition: it runs, and `force` is not given. NotFound: somebody else removed it.
    """
    with entry.lock():
        status = oci_state(entry).status
        if status not in (STOPPED, CREATED) and not force:
            raise Precondition(
                f"cannot delete container {entry.container.id} that is not stopped: {status}",
                fix="kill it first, or use --force",
            )
        _end_process(entry)
        problem = _remove_cgroup(entry)
        spec = entry.spec
        state = state_document(entry, STOPPED, 0, spec.annotations)
        states.forget(entry.container.id)
    if problem is not None:
        raise problem
    if spec.hooks is not None and spec.hooks.poststop:
        from sampan.container.hooks import run_hooks

        for hook in spec.hooks.poststop:  # one that fails does not keep the others from running
            try:
                run_hooks("poststop", [hook], state)
            except SampanError:
                continue


def abandon(entry: Entry, states: StateRoot) -> None:
    """Removes whatever there is of a container whose creation failed."""
    try:
        delete(entry, states, force=True)
    except SampanError:  # what stopped its creation is what its caller is told
        return


def _end_process(entry: Entry) -> None:
    run = entry.running
    if run is None or not entry.is_alive():
        return
    pidfd = -1
    try:
        pidfd = processes.open_pidfd(run.pid)
        processes.send_signal(run.pid, run.start_time, SIGKILL)
        processes.wait_ended(pidfd, None)
    except NotFound:  # it ended by itself in between
        return
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _remove_cgroup(entry: Entry) -> SampanError | None:
    if not entry.claimed_cgroup():  # one of that name is somebody else's
        return None
    try:
        cgroup_of(entry.container, entry.spec).remove()
    except SampanError as error:
        return error
    return None
