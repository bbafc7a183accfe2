"""How a container ends: waited for, signalled, stopped, removed. Every door calls these; none has its own.

Each change holds the container's lock; what happened is on disk before a call returns. What an OCI runtime does to its
containers is in `lifecycle`.
"""

from __future__ import annotations

import os
import time

from sampan.container import control, remains
from sampan.container.events import publish, publish_container
from sampan.container.records import RECORD_SECONDS, Container, Exit, Restart
from sampan.container.store import Containers, Entry, read_exit
from sampan.core.errors import Exhausted, NotFound, Precondition, SampanError
from sampan.core.signals import number_of
from sampan.linux import durable, processes
from sampan.linux.cgroups import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Running
    from sampan.core.roots import Roots

SIGKILL = 9
KILL_SECONDS = 10.0  # where the kernel needs longer than that, nobody can help it


def wait(entry: Entry, timeout: float | None = None) -> Exit | None:
    """Waits until the container's run has ended; how it did, or None when `timeout` seconds were not enough.

    Raises:
        Precondition: it was never started.
    """
    run = entry.running
    record = entry.open_record()  # before it ends: a container may be removed then, with its record
    try:
        if run is not None:
            if entry.is_alive() and not _wait_for_process(run, timeout):
                return None
            return _ending_of(entry, run, record)
    finally:
        if record >= 0:
            os.close(record)
    failed_start = entry.exit()
    if failed_start is None:
        raise Precondition(f"container {entry.container.name} was never started")
    return failed_start


def _ending_of(entry: Entry, run: Running, record: int) -> Exit:
    """How a run ended whose process is gone; its parent may still be about to write that down."""
    deadline = time.monotonic() + RECORD_SECONDS
    while entry.running == run and time.monotonic() < deadline:
        if entry.has_exit_record() and (found := entry.exit()):
            return found
        time.sleep(0.005)
    return read_exit(record) or entry.exit() or Exit(128 + SIGKILL, "killed", time.time_ns())


def _wait_for_process(run: Running, timeout: float | None) -> bool:
    try:
        pidfd = processes.open_pidfd(run.pid)
    except NotFound:  # it ended in between
        return True
    try:
        return processes.wait_ended(pidfd, timeout)
    finally:
        os.close(pidfd)


def kill(entry: Entry, roots: Roots, number: int) -> None:
    """Sends signal `number` to the container's process; after SIGKILL it is gone when this returns.

    Raises:
        Precondition: it is not running.
    """
    run = entry.running
    if run is None or not entry.is_alive():
        raise Precondition(f"container {entry.container.name} is not running")
    if number in (
        SIGKILL,
        number_of(entry.container.stop_signal),
    ):  # meant for good: no policy starts it again
        _stopped_by_user(entry)
    try:
        processes.send_signal(*run.target, number)
    except NotFound:
        raise Precondition(f"container {entry.container.name} is not running") from None
    publish_container(roots, entry.container, "kill", signal=str(number))
    if number == SIGKILL:  # a start that follows must not find it running
        _wait_for_process(run, KILL_SECONDS)


def _stopped_by_user(entry: Entry) -> None:
    restarts = entry.restarts
    restarts.stopped_by_user = True
    try:
        entry.save_restarts(restarts)
    except Exhausted:  # a full disk must not keep anybody from ending what may fill it
        if (entry.container.restart or Restart()).policy != "no":
            raise


def stop(entry: Entry, roots: Roots, number: int, timeout: float | None) -> Exit | None:
    """Ends a run: signal `number`, and SIGKILL when `timeout` seconds were not enough; None if it did not run.

    Without a timeout it waits for good.
    """
    _stopped_by_user(entry)
    if not entry.is_alive():
        return None
    try:
        kill(entry, roots, number)
        record = wait(entry, timeout)
        if record is None:
            kill(entry, roots, SIGKILL)
            record = wait(entry)
    except Precondition:  # it ended by itself in between
        record = entry.exit()
    publish_container(roots, entry.container, "stop")
    return record


def remove(entry: Entry, roots: Roots, *, force: bool = False) -> None:
    """Removes a container with its files and its log.

    Raises:
        Precondition: it runs, and `force` is not given. NotFound: somebody else removed it.
    """
    with entry.lock():  # nobody starts it now
        if entry.is_alive():
            if not force:
                raise Precondition(
                    f"container {entry.container.name} is running",
                    fix=f"stop it first: sampan stop {entry.container.name}, or remove it with -f",
                )
            stop(entry, roots, SIGKILL, None)
        discard(entry, roots)


def wait_removed(entry: Entry) -> None:
    """Waits, but not for a zygote that is gone, until a container that goes when it ends has been removed."""
    deadline = time.monotonic() + RECORD_SECONDS
    while os.path.exists(entry.folder) and time.monotonic() < deadline:
        time.sleep(0.002)


def remove_broken(container_id: str, roots: Roots) -> None:
    """Removes a container whose documents cannot be read, and ends what still runs of it.

    Raises:
        NotFound: there is no such container.
    """
    end_broken(container_id, roots)
    Containers(roots).remove(container_id)
    publish(roots, "container", "destroy", container_id, {})


def end_broken(container_id: str, roots: Roots) -> None:
    """Ends what runs of a container whose documents cannot be read.

    Its process is known by the other end of its control socket, and by its cgroup.
    """
    folder = f"{roots.containers}/{container_id}"
    try:
        connection = control.connect(folder)
        try:
            pid = control.peer(connection)
            processes.send_signal(pid, processes.start_time(pid), SIGKILL)
        finally:
            connection.close()
    except SampanError:  # nobody is there, or not any more
        pass
    try:
        claimed = Entry(folder, Container(container_id, "", "", 0)).claimed_cgroup()
        (Cgroup(claimed, base="") if claimed else Cgroup(container_id)).remove()
    except SampanError:  # as in `discard`
        pass


def end_lost(run: Running) -> None:
    """Ends a run whose container somebody took off the disk without ending it."""
    try:
        processes.send_signal(*run.target, SIGKILL)
        if run.cgroup:
            Cgroup(run.cgroup, base="").remove()
    except SampanError:  # it has ended; or as in `discard`
        pass


def discard(entry: Entry, roots: Roots) -> None:
    """Removes what is left of a container that does not run."""
    remains.forget(entry, roots)
    Containers(roots).remove(entry.container.id)
    for volume in entry.container.volumes:
        durable.remove_tree(volume)
    publish_container(roots, entry.container, "destroy")
