"""How a container starts: at once, in the foreground or from the zygote, or in two steps as an OCI runtime does it.

Every door calls these; none has its own. Each change holds the container's lock; what happened is on disk before a
call returns. The second of the two steps is `lifecycle.begin`.
"""

from __future__ import annotations

import os
import time

from sampan.container import control, stdio
from sampan.container.records import RECORD_SECONDS
from sampan.container.spaces import spaces_of
from sampan.container.starter import Attendance, attend, conversation
from sampan.container.status import CREATING, state_document
from sampan.core.errors import NotFound, Precondition, SampanError, Unavailable, from_os_error
from sampan.core.spec.runtime import Linux
from sampan.linux import durable, processes
from sampan.linux.locks import FileLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Spec

ZYGOTE_SECONDS = 30.0


def start_here(entry: Entry, roots: Roots, mode: str) -> int:
    """Starts the container as a child of this process; its pid. The caller reaps it with `reaper.reap`.

    Raises:
        Precondition: it runs already. SampanError: what stopped it, with the exit code to leave with.
    """
    with entry.lock():
        _begin_run(entry)
        pid, ours = _fork(entry, roots, mode)
        try:
            attend(ours, pid, _answers(entry, entry.spec))
        except SampanError:
            from sampan.container.reaper import reap

            reap(entry, roots, pid)
            raise
    _publish(entry, roots)
    return pid


def _fork(
    entry: Entry, roots: Roots, mode: str, *, gated: bool = False, console_fd: int = -1, preserved: int = 0
) -> tuple[int, int]:
    """Forks the container's process: its pid, and our end of the conversation with it."""
    from sampan.container import process
    from sampan.container.files import Wish

    wish = Wish(mode, gated, console_fd, preserved)
    ours, theirs = conversation()
    try:
        pid = spaces_of(entry.container, entry.spec).fork()
        if pid == 0:
            os.close(ours)
            process.main(entry, roots, wish, theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return pid, ours


def _answers(entry: Entry, spec: Spec) -> dict[str, Callable[[int], None]]:
    """What a starting process may ask of its starter."""

    def map_ids(pid: int) -> None:
        from sampan.linux.idmaps import write_maps

        linux = spec.linux or Linux()
        write_maps(pid, linux.uid_mappings, linux.gid_mappings)

    def hooks(pid: int) -> None:
        from sampan.container.hooks import run_hooks

        if spec.hooks is not None:
            state = state_document(entry, CREATING, pid, spec.annotations)
            run_hooks("prestart", spec.hooks.prestart, state)
            run_hooks("createRuntime", spec.hooks.create_runtime, state)

    return {"maps": map_ids, "hooks": hooks}


# -- an OCI runtime's two steps


def create(entry: Entry, roots: Roots, *, console_fd: int = -1, preserved: int = 0) -> int:
    """Makes the container's process, namespaces, mounts and cgroup and runs the hooks; its pid (runtime.md, "Create").

    The process goes on loading the workload and waits for `begin`. It is nobody's child but the caller's reaper's.

    Args:
        console_fd: a connection to the console socket. preserved: how many descriptors from 3 up it keeps.

    Raises:
        SampanError: what stopped it; nothing of the process is left then.
    """
    creation = Creation(entry, roots, console_fd=console_fd, preserved=preserved)
    while not creation.hear():
        pass
    return creation.pid


class Creation:
    """A container's process on its way to its gate, for who has other things to do meanwhile; as `create`.

    Attributes:
        fd: can be read when there is something to `hear`; -1 after the last word. pid: of its process.
    """

    def __init__(self, entry: Entry, roots: Roots, *, console_fd: int = -1, preserved: int = 0) -> None:
        self._lock = entry.lock()
        self._lock.acquire()
        try:
            pid, ours = _fork(
                entry, roots, stdio.INHERIT, gated=True, console_fd=console_fd, preserved=preserved
            )
        except BaseException:
            self._lock.release()
            raise
        self._attendance = Attendance(ours, pid, _answers(entry, entry.spec))

    @property
    def fd(self) -> int:
        return self._attendance.fd

    @property
    def pid(self) -> int:
        return self._attendance.pid

    def hear(self) -> bool:
        """Waits for one word of the process and serves it; whether it stands.

        Raises:
            SampanError: what stopped it; nothing of the process is left then.
        """
        forked = self.pid
        try:
            stands = self._attendance.hear()
        except BaseException:
            processes.reap(forked)
            self._lock.release()
            raise
        if stands:
            self._lock.release()
        return stands


# -- from the zygote


def start(entry: Entry, roots: Roots, mode: str = stdio.CAPTURE) -> None:
    """Starts the container in the background, as a child of the zygote.

    Raises:
        Precondition: it runs already. SampanError: what stopped it.
    """
    with entry.lock():
        _begin_run(entry)
        connection = connect_to_zygote(roots)
        ours, theirs = conversation()
        try:
            control.send(connection, {"do": "start", "id": entry.container.id, "mode": mode}, [theirs])
            control.receive(connection)
        except OSError as error:
            os.close(ours)
            raise Unavailable(
                f"the zygote went away: {error.strerror or 'it does not answer'}", fix="try again"
            ) from error
        finally:
            os.close(theirs)
            connection.close()
        attend(ours, 0, _answers(entry, entry.spec))
    _publish(entry, roots)


def _publish(entry: Entry, roots: Roots) -> None:
    from sampan.container.events import publish_container  # the OCI door has none

    publish_container(roots, entry.container, "start")


def _begin_run(entry: Entry) -> None:
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


def wake_zygote(roots: Roots) -> None:
    """Sees to it that there is a zygote for these roots.

    Raises:
        Unavailable: it does not start.
    """
    connect_to_zygote(roots).close()


def connect_to_zygote(roots: Roots) -> control.Socket:
    """A connection to the zygote of these roots, which is started where there is none, or one of other code.

    Raises:
        Unavailable: it does not start.
    """
    from sampan.container.vintage import is_outdated

    durable.make_dir(roots.run, 0o711)
    for _ in range(3):
        try:
            connection = control.connect(roots.run, "zygote", ZYGOTE_SECONDS)
        except Precondition:
            _start_zygote(roots)
            continue
        if not is_outdated(f"{roots.run}/desk"):
            return connection
        try:
            control.send(connection, {"do": "retire"})
            control.receive(connection)
        except OSError:  # it went away just now, or does not answer
            pass
        finally:
            connection.close()
    raise Unavailable(
        "the zygote does not start",
        fix=f"look whether {roots.run} can be written, and whether one is stopped",
    )


_AWAY = """
import os
if os.fork():
    os._exit(0)
"""
_ZYGOTE = """
import sys
sys.path[:] = sys.argv[4:]
from sampan.container.zygote import main
sys.exit(main(sys.argv[1:4]))
"""


def _start_zygote(roots: Roots) -> None:
    """Starts the zygote, unless somebody else does just now: then this waits until theirs serves."""
    with FileLock(f"{roots.run}/zygote.start"):
        try:
            control.connect(roots.run, "zygote", ZYGOTE_SECONDS).close()
        except Precondition:
            _spawn_zygote(roots)


def _spawn_zygote(roots: Roots) -> None:
    """Starts the zygote as a process of its own: a fresh interpreter, so that what it forks is small.

    It is that process that forks away from us: we may have threads, which code of ours would not survive in a fork.
    """
    import sys

    read, write = os.pipe2(0)
    script = _AWAY + _ZYGOTE
    arguments = [sys.executable, "-I", "-S", "-c", script, roots.data, roots.run, str(write), *sys.path]
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    with open(read, "rb") as pipe:
        try:
            pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=null, setpgroup=0)
        except OSError as error:
            raise from_os_error(error, "start the zygote") from error
        finally:
            os.close(write)
        os.waitpid(pid, 0)
        pipe.read(1)
