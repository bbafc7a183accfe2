"""The zygote: the warm process that forks containers, reaps them and carries out restart policies.

One for a run root, started on demand, gone when it has nothing left to do. It is single-threaded and has the engine
loaded; no WASI call and no compilation happens here, as neither survives a fork. Everything that it must know after
its own death is in the containers' folders: a new zygote finds what an earlier one left undone. One that is asked to
retire, for Sampan was installed anew, takes no new work and reaps until its children are gone.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import select
import sys
import time

from sampan.container import control, process, stdio, walls, workload
from sampan.container.desk import Desk
from sampan.container.ending import discard
from sampan.container.events import publish_container
from sampan.container.files import Wish
from sampan.container.launch import warm_up
from sampan.container.reaper import conclude, endings
from sampan.container.restarts import wants_restart
from sampan.container.spaces import spaces_of
from sampan.container.starter import Starter, conversation
from sampan.container.store import Containers
from sampan.core.errors import SampanError
from sampan.core.record import Record
from sampan.core.roots import Roots
from sampan.linux.locks import FileLock
from sampan.linux.privileges import close_from
from sampan.linux.processes import set_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry

NAME = "zygote"
IDLE_SECONDS = 30.0
FIRST_DELAY, LONGEST_DELAY, HEALTHY_AFTER = 0.1, 60.0, 10.0


class Zygote:
    """Forks, reaps, restarts. `children` maps a pid to its container, if it is one's, and when it was forked
    (monotonic s).
    """

    def __init__(self, roots: Roots, idle: float, lock: FileLock) -> None:
        self._roots = roots
        self._lock = lock
        self._desk: Desk | None = Desk(f"{roots.run}/desk")  # who connects may read it
        self._server: control.Socket | None = control.listen(roots.run, NAME)
        self._containers = Containers(roots)
        self._idle = idle
        self._children: dict[int, tuple[str, float]] = {}
        self._due: dict[str, float] = {}
        self._delays: dict[str, float] = {}
        self._wakeup, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE):
            _signal.signal(number, _signal.SIG_IGN)

    def serve(self) -> None:
        """Serves until there is nothing to do for the idle time, or, retired, nothing at all."""
        self._resume()
        quiet_since = time.monotonic()
        while True:
            now = time.monotonic()
            if self._children or self._due:
                quiet_since = now
            elif self._server is None:
                return
            elif now - quiet_since >= self._idle:
                self._close()
                return
            if self._wait(self._patience(quiet_since + self._idle - now)):
                quiet_since = time.monotonic()
            self._reap()
            self._restart_due()

    def _wait(self, patience: float | None) -> bool:
        """Waits up to `patience` milliseconds for news; whether somebody wanted something."""
        server, desk = self._server, self._desk
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if server is not None and desk is not None:
            poll.register(server.fileno(), select.POLLIN)
            poll.register(desk.fd, select.POLLIN)
        wanted = False
        for fd, _ in poll.poll(patience):
            if fd == self._wakeup:
                os.read(fd, 512)
            elif desk is not None and fd == desk.fd:
                self._children |= dict.fromkeys(desk.serve(), ("", 0.0))
                wanted = True
            elif server is not None:
                self._answer(server)
                wanted = True
            if self._server is None:  # just retired
                break
        return wanted

    def _close(self) -> None:
        """Takes no new work from here on, and lets another zygote have it."""
        if self._server is not None and self._desk is not None:
            self._server.close()
            self._desk.close()
            control.forget(self._roots.run, NAME)
            self._lock.release()
        self._server = self._desk = None

    def _patience(self, idle_left: float) -> float | None:
        """How long to wait for news, in milliseconds."""
        if self._due:
            return max(0.0, min(self._due.values()) - time.monotonic()) * 1000 + 1
        return None if self._children else idle_left * 1000 + 1

    def _answer(self, server: control.Socket) -> None:
        try:
            fd, _ = server._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        connection = _socket.socket(fileno=fd)
        fds: list[int] = []
        try:
            connection.settimeout(5.0)
            data, fds = control.receive(connection)
            request = control.parse_request(data)
            if request.get("do") == "start" and len(fds) == 1:
                container_id = str(request.get("id"))
                self._due.pop(container_id, None)
                self._delays.pop(container_id, None)
                self._fork(container_id, fds[0], str(request.get("mode")))
                control.send(connection, {})
            elif request.get("do") == "restart":
                self._due[str(request.get("id"))] = time.monotonic()
            elif request.get("do") == "retire":
                self._close()
                self._due.clear()  # the next one finds them
                control.send(connection, {})
        except OSError:  # the client went away
            pass
        finally:
            connection.close()
            for descriptor in fds:
                os.close(descriptor)

    def _fork(self, container_id: str, report: int, mode: str) -> None:
        try:
            entry = self._containers.find(container_id)
            pid = spaces_of(entry.container, entry.spec).fork()
        except SampanError as error:
            Starter(os.dup(report)).failed(error)
            return
        if pid == 0:
            process.main(entry, self._roots, Wish(mode), report)
        self._children[pid] = (container_id, time.monotonic())

    def _reap(self) -> None:
        for pid, status in endings():
            container_id, began = self._children.pop(pid, ("", 0.0))
            if container_id:
                self._after(container_id, status, time.monotonic() - began)

    def _after(self, container_id: str, status: int, ran: float) -> None:
        try:
            entry = self._containers.find(container_id)
            record = conclude(entry, self._roots, status)
            if wants_restart(entry, record):
                delay = FIRST_DELAY if ran >= HEALTHY_AFTER else self._delays.get(container_id, FIRST_DELAY)
                self._delays[container_id] = min(delay * 2, LONGEST_DELAY)
                self._due[container_id] = time.monotonic() + delay
            elif entry.container.auto_remove:
                discard(entry, self._roots)
        except SampanError:  # removed under us: nothing is left to record
            return

    def _restart_due(self) -> None:
        now = time.monotonic()
        for container_id in [c for c, due in self._due.items() if due <= now]:
            del self._due[container_id]
            try:
                if self._server is None:
                    self._hand_over(container_id)
                    continue
                self._restart(self._containers.find(container_id))
            except OSError:  # the zygote that is there now went away: there will be another one
                self._due[container_id] = now + FIRST_DELAY
            except SampanError:
                continue

    def _restart(self, entry: Entry) -> None:
        restarts = entry.restarts
        if restarts.stopped_by_user or entry.is_alive():
            return
        restarts.count += 1
        entry.save_restarts(restarts)
        entry.begin_run()
        ours, theirs = conversation()  # nobody waits: what stops the start is in the exit record
        self._fork(entry.container.id, theirs, stdio.CAPTURE)
        os.close(theirs)
        os.close(ours)
        publish_container(self._roots, entry.container, "start")

    def _hand_over(self, container_id: str) -> None:
        """Lets the zygote that is there now start a container again; a new one looks for it by itself."""
        from sampan.container.starting import connect_to_zygote

        connection = connect_to_zygote(self._roots)
        control.send(connection, {"do": "restart", "id": container_id})
        connection.close()

    def _resume(self) -> None:
        """Takes up what a zygote that was killed left: containers to restart, and some to remove."""
        for entry in self._containers.all():
            record = entry.exit()
            if record is None or entry.is_alive():
                continue
            if wants_restart(entry, record):
                self._due[entry.container.id] = time.monotonic()
            elif entry.container.auto_remove and entry.running is not None:
                discard(entry, self._roots)


def main(argv: list[str]) -> int:
    """`DATA RUN READY_FD`: serves the zygote of these roots; a byte on READY_FD says that it listens."""
    roots, ready = Roots(argv[0], argv[1]), int(argv[2])
    close_from(3, [ready])
    os.setsid()
    os.chdir("/")
    set_name("sampan-zygote")
    os.environ["TOKIO_WORKER_THREADS"] = "1"
    lock = FileLock(f"{roots.run}/zygote.lock")
    if not lock.try_acquire():  # another one was faster: it serves
        os.write(ready, b"!")
        return 0
    walls.import_all()
    workload.warm_up()
    warm_up()
    Record.prepare_all()
    import hashlib  # noqa: F401 - loaded by each container, OpenSSL would take 0.4 MB of each

    zygote = Zygote(roots, float(os.environ.get("SAMPAN_ZYGOTE_IDLE", IDLE_SECONDS)), lock)
    os.write(ready, b"!")
    os.close(ready)
    gc.collect()
    gc.freeze()
    zygote.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
