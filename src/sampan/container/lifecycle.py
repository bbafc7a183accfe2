"""A container's life: start, wait, stop, kill, remove. Every door calls these; none has its own.

Each change holds the container's lock; what happened is on disk before a call returns.
"""

from __future__ import annotations

import os
import time

from sampan.container import control, reaper
from sampan.container.events import publish, publish_container
from sampan.container.launch import hear_report
from sampan.container.records import Exit
from sampan.container.stdio import CAPTURE
from sampan.container.store import Containers, read_exit
from sampan.core.errors import NotFound, Precondition, SampanError, Unavailable
from sampan.core.signals import number_of
from sampan.linux import durable, processes
from sampan.linux.cgroups import Cgroup
from sampan.linux.privileges import close_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Running
    from sampan.container.store import Entry
    from sampan.core.roots import Roots

SIGKILL = 9
RECORD_SECONDS = 2.0


def start_here(entry: Entry, roots: Roots, mode: str) -> int:
    """Starts the container as a child of this process; its pid. The caller reaps it with `reap`.

    Raises:
        Precondition: it runs already. SampanError: what stopped it, with the exit code to leave with.
    """
    from sampan.container import process  # with the engine: whoever starts nothing here does without

    with entry.lock():
        _begin(entry)
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(read)
            process.main(entry, roots, mode, write, None)
        os.close(write)
        try:
            hear_report(read)
        except SampanError:
            reaper.reap(entry, roots, pid)
            raise
    publish_container(roots, entry.container, "start")
    return pid


def reap(entry: Entry, roots: Roots, pid: int) -> Exit:
    """Waits for a child that `start_here` made, and records its end."""
    return reaper.reap(entry, roots, pid)


def start(entry: Entry, roots: Roots, mode: str = CAPTURE) -> None:
    """Starts the container in the background, as a child of the zygote.

    Raises:
        Precondition: it runs already. SampanError: what stopped it.
    """
    with entry.lock():
        _begin(entry)
        read, write = os.pipe2(os.O_CLOEXEC)
        connection = _connect_to_zygote(roots)
        try:
            control.send(connection, {"do": "start", "id": entry.container.id, "mode": mode}, [write])
            os.close(write)
            control.receive(connection)
        except OSError as error:
            raise Unavailable(f"the zygote went away: {error.strerror}", fix="try again") from error
        finally:
            connection.close()
        hear_report(read)
    publish_container(roots, entry.container, "start")


def _begin(entry: Entry) -> None:
    if entry.is_alive():
        raise Precondition(f"container {entry.container.name} is already running")
    _wait_until_reaped(entry)
    entry.begin_run()
    entry.forget_restarts()


def _wait_until_reaped(entry: Entry) -> None:
    """Lets the parent of the last run write down how it ended: it must not take the next run for it."""
    run = entry.running
    deadline = time.monotonic() + RECORD_SECONDS
    while run is not None and time.monotonic() < deadline:
        try:
            if processes.start_time(run.pid) != run.start_time:
                return
        except NotFound:
            return
        time.sleep(0.002)


def _connect_to_zygote(roots: Roots) -> control.Socket:
    """A connection to the zygote of these roots, which is started where there is none."""
    durable.make_dir(roots.run, 0o711)
    for _ in range(3):
        try:
            return control.connect(roots.run, "zygote")
        except Precondition:
            _start_zygote(roots)
    raise Unavailable("the zygote does not start", fix=f"look whether {roots.run} can be written")


_ZYGOTE = """
import sys
sys.path[:] = sys.argv[4:]
from sampan.container.zygote import main
sys.exit(main(sys.argv[1:4]))
"""


def _start_zygote(roots: Roots) -> None:
    """Starts the zygote as a process of its own: a fresh interpreter, so that what it forks is small."""
    import sys

    read, write = os.pipe2(0)
    arguments = [sys.executable, "-I", "-S", "-c", _ZYGOTE, roots.data, roots.run, str(write), *sys.path]
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                null = os.open("/dev/null", os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
                close_from(3, [write])
                os.execv(sys.executable, arguments)
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, "rb") as pipe:
        pipe.read(1)


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
    """Sends signal `number` to the container's process.

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
        processes.send_signal(run.pid, run.start_time, number)
    except NotFound:
        raise Precondition(f"container {entry.container.name} is not running") from None
    publish_container(roots, entry.container, "kill", signal=str(number))


def _stopped_by_user(entry: Entry) -> None:
    restarts = entry.restarts
    restarts.stopped_by_user = True
    entry.save_restarts(restarts)


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


def remove_broken(container_id: str, roots: Roots) -> None:
    """Removes a container whose documents cannot be read, and ends what still runs of it.

    Its process is known by the other end of its control socket, and by its cgroup.

    Raises:
        NotFound: there is no such container.
    """
    containers = Containers(roots)
    folder = f"{containers.folder}/{container_id}"
    try:
        connection = control.connect(folder)
    except SampanError:  # nobody is there
        pass
    else:
        pid = control.peer(connection)
        try:
            processes.send_signal(pid, processes.start_time(pid), SIGKILL)
        finally:
            connection.close()
    try:
        Cgroup(container_id).remove()
    except SampanError:  # as in `discard`
        pass
    containers.remove(container_id)
    publish(roots, "container", "destroy", container_id, {})


def discard(entry: Entry, roots: Roots) -> None:
    """Removes what is left of a container that does not run."""
    try:
        Cgroup(entry.container.id).remove()
    except SampanError:  # processes of an `exec` that outlive it; the cgroup goes with the last
        pass
    Containers(roots).remove(entry.container.id)
    for volume in entry.container.volumes:
        durable.remove_tree(volume)
    publish_container(roots, entry.container, "destroy")
