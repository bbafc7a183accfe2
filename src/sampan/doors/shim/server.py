"""The server of a pod's tasks: found or made for a `start`, and there until the last task is gone.

Whoever holds the lock in the pod's folder serves. A `start` that finds a server tells it which task will come, so that
it does not leave just then; one that finds none becomes it when it has given containerd the address, and keeps nothing
of the program that containerd waits for. The socket listens from before that.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import time

from sampan.container.bundle import read_annotation
from sampan.core.errors import SampanError, Unavailable, from_os_error
from sampan.doors.shim import messages
from sampan.doors.shim.connections import Server
from sampan.doors.shim.events import Publisher
from sampan.doors.shim.loop import Loop
from sampan.doors.shim.pod import ADDRESS, LOCK, SANDBOX_ID, SOCKET, Pod, Wish, folder_of, has_tasks
from sampan.doors.shim.service import OWN_SERVICE, Service
from sampan.doors.shim.tasks import Tasks
from sampan.linux import durable, processes
from sampan.linux.locks import FileLock
from sampan.linux.privileges import close_from
from sampan.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

NAME = "sampan-shim"
COMING_SECONDS = 30.0
LOOK_SECONDS = 5.0
LINGER_SECONDS = 600.0
START_SECONDS = 30.0
MOST_ADDRESS = 106  # containerd's bound
BACKLOG = 128


def address_for(wish: Wish) -> tuple[str, Callable[[], NoReturn] | None]:
    """The address of the server for a container's group; where there is none, what makes this process it, too.

    Its socket listens already. Who calls this must do that last step, or fork a process that does.

    Raises:
        SampanError: the bundle cannot be read, or the server not be started.
    """
    folder = folder_of(wish, read_annotation(wish.bundle, SANDBOX_ID) or wish.id)
    address = f"unix://{folder}/{SOCKET}"
    if len(address) > MOST_ADDRESS:
        raise Unavailable(
            f"the address {address} is longer than {MOST_ADDRESS} bytes", fix="use a shorter run root"
        )
    end = time.monotonic() + START_SECONDS
    serve = None
    while not _tell(folder, wish.id):
        lock = try_lock(folder)
        if lock is not None:
            serve = _begin(Pod(wish, folder), lock)
            break
        if time.monotonic() > end:
            raise Unavailable(f"the server in {folder} neither answers nor ends")
        time.sleep(0.002)
    durable.write_file(f"{wish.bundle}/{ADDRESS}", address.encode(), lasting=False)
    return address, serve


def try_lock(folder: str) -> FileLock | None:
    """The right to serve the pod of this folder, which is made; None while somebody else has it, or takes it away."""
    durable.make_dir(os.path.dirname(folder), 0o711)
    durable.make_dir(folder, 0o700)
    lock = FileLock(f"{folder}/{LOCK}")
    try:
        if lock.try_acquire():
            if os.path.samestat(os.fstat(lock.fd), os.stat(lock.path)):
                return lock
            lock.release()
    except (SampanError, OSError):  # a server that ended has just removed the folder
        lock.release()
    return None


def _tell(folder: str, container_id: str) -> bool:
    """Tells the server that a task will come; false where there is no server."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(START_SECONDS)
        connection.connect(f"{folder}/{SOCKET}")
        payload = messages.TaskRequest(container_id).encode()
        connection.sendall(ttrpc.request(1, OWN_SERVICE, "Expect", payload))
        return bool(connection.recv(1))
    except TimeoutError as error:
        raise Unavailable(f"the server in {folder} does not answer") from error
    except OSError:  # nobody is there, or just leaves
        return False
    finally:
        connection.close()


def _begin(pod: Pod, lock: FileLock) -> Callable[[], NoReturn]:
    try:
        listener = _listen(f"{pod.folder}/{SOCKET}")
    except OSError as error:
        lock.release()
        raise from_os_error(error, "start the server") from error
    return lambda: _serve(pod, listener, lock)


def _listen(path: str) -> _socket.socket:
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        os.unlink(path)  # of a server that was killed
    except FileNotFoundError:
        pass
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _detach(kept: list[int]) -> None:
    """Leaves everything of the program that started the server behind: it ends when its output does."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    close_from(3, kept)
    for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    processes.set_name(NAME)
    processes.set_child_subreaper()
    os.umask(0o022)


def _serve(pod: Pod, listener: _socket.socket, lock: FileLock) -> NoReturn:
    """Serves until there is nothing to do any more; the lock is this process's for as long as it lives."""
    _detach([listener.fileno(), lock.fd])
    loop = Loop()
    publisher = Publisher(loop, pod.wish.events, pod.wish.namespace, pod.folder)
    tasks = Tasks(loop, publisher)
    loop.collect_with(tasks.collect)
    presence = Presence(pod, loop, tasks, publisher)
    service = Service(pod, tasks, publisher, presence.expect, presence.shut_down)
    presence.serve_on(Server(loop, listener, service.serve))
    gc.collect()
    gc.freeze()
    loop.run()
    os._exit(0)


class Presence:
    """How long the server stays: while there are tasks, or one may come, or an event waits to be delivered."""

    def __init__(self, pod: Pod, loop: Loop, tasks: Tasks, publisher: Publisher) -> None:
        self._pod = pod
        self._loop = loop
        self._tasks = tasks
        self._publisher = publisher
        self._server: Server | None = None
        self._expected: dict[str, float] = {}
        self._leaves_until = 0.0
        self.expect(pod.wish.id, True)
        self._look()

    def serve_on(self, server: Server) -> None:
        self._server = server

    def expect(self, container_id: str, comes: bool) -> None:
        """A task will come, or has come."""
        if comes:
            self._expected[container_id] = time.monotonic() + COMING_SECONDS
        else:
            self._expected.pop(container_id, None)

    def shut_down(self) -> None:
        """Leaves, if nothing is left to do."""
        if not self._is_needed:
            self._leave()

    @property
    def _is_needed(self) -> bool:
        now = time.monotonic()
        self._expected = {name: until for name, until in self._expected.items() if until > now}
        return bool(len(self._tasks) or self._expected)

    def _look(self) -> None:
        """From time to time: a containerd that was killed between `start` and Create says nothing any more."""
        if not self._is_needed and self._publisher.idle:
            self._leave()
        self._loop.after(LOOK_SECONDS, self._look)

    def _leave(self) -> None:
        """Listens no more, and ends when all events are delivered."""
        if self._leaves_until:
            return
        self._leaves_until = time.monotonic() + LINGER_SECONDS
        if self._server is not None:
            self._server.close()
        _remove(f"{self._pod.folder}/{SOCKET}")
        self._loop.soon(self._end)

    def _end(self) -> None:
        if not self._publisher.idle and time.monotonic() < self._leaves_until:
            self._loop.after(0.01, self._end)
            return
        if not has_tasks(self._pod.folder):  # of a server before this one, left for `delete`
            durable.remove_tree(self._pod.folder, lasting=False)
        self._loop.stop()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
