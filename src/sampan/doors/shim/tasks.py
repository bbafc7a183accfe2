"""The tasks of a server and the processes in them: what each is at this moment, and how each ended.

A process's end is collected here, once, with its exact status; who waits for it is answered, and containerd is told by
an event. Everything happens in the loop's one thread, so no state is ever seen half changed.
"""

from __future__ import annotations

import os
import select
import time

from sampan.container.reaper import endings
from sampan.core.errors import Exists, NotFound, Precondition, SampanError
from sampan.core.record import Record
from sampan.doors.shim import messages, rootfs
from sampan.doors.shim.loop import READABLE
from sampan.doors.shim.messages import CREATED, PAUSED, RUNNING, STOPPED, Timestamp
from sampan.doors.shim.relays import Relay
from sampan.doors.shim.streams import Ends, open_ends
from sampan.doors.shim.terminals import Console, Terminal
from sampan.linux import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sampan.container.starting import Creation
    from sampan.core.spec.runtime import Process as ProcessSpec
    from sampan.doors.shim.connections import Call
    from sampan.doors.shim.containers import Container
    from sampan.doors.shim.events import Publisher
    from sampan.doors.shim.loop import Loop
    from sampan.doors.shim.streams import Paths

    T = TypeVar("T")

SIGKILL = 9


class Process:
    """A task's first process, or one of an exec: `exec_id` is empty for the first.

    Attributes:
        status: one of `messages`'. exited_at: in nanoseconds since 1970. spec: of an exec's process.
        ends: of its streams, the ones that the server keeps. waiting: calls that are answered at its end.
    """

    def __init__(self, task: Task, exec_id: str, paths: Paths, spec: ProcessSpec | None = None) -> None:
        self.task = task
        self.exec_id = exec_id
        self.paths = paths
        self.spec = spec
        self.pid = self.start_time = 0
        self.status = CREATED
        self.exit_status = 0
        self.exited_at = 0
        self.terminal: Terminal | None = None
        self._ends = Ends()
        self._console: Console | None = None
        self._input: Relay | None = None
        self.waiting: list[Call] = []

    @property
    def exited(self) -> Timestamp | None:
        return Timestamp.of(self.exited_at) if self.exited_at else None

    def begin(self, loop: Loop, fork: Callable[[Ends, Console | None], T]) -> T:
        """Opens its streams and has it forked with them; `begun` or `close` must follow.

        Raises:
            SampanError: what stopped it; nothing is left open then.
        """
        ends = self._ends = open_ends(self.paths)
        try:
            if self.paths.terminal:
                self._console = Console()
                return fork(Ends(), self._console)
            if ends.stdin_is_fifo:
                source, (ends.stdin, sink) = ends.stdin, os.pipe2(os.O_CLOEXEC)
                self._input = Relay(loop, source, sink)
            return fork(ends, None)
        except BaseException:
            self.close()
            raise

    def begun(self, loop: Loop, pid: int) -> None:
        """Takes note of the process that stands, and its terminal.

        Raises:
            SampanError: there is no such process any more; nothing is left open then.
        """
        try:
            self.pid, self.start_time = pid, processes.start_time(pid)
            if self._console is not None:
                self.terminal = Terminal(loop, self._console.master(), self._ends)
        except BaseException:
            self.close()
            raise
        self._close_ends()

    def _close_ends(self) -> None:
        self._ends.close()
        if self._console is not None:
            self._console.close()
            self._console = None

    def signal(self, number: int) -> None:
        """Sends it a signal.

        Raises:
            NotFound: it has ended. Precondition: it has not begun.
        """
        if not self.pid:
            raise Precondition(f"process {self.exec_id} was not started")
        if self.status == STOPPED:
            raise NotFound("process already finished")
        try:
            processes.send_signal(self.pid, self.start_time, number)
        except NotFound:
            raise NotFound("process already finished") from None

    def end_input(self) -> None:
        """Lets it see the end of its input, behind what was written so far; again is fine."""
        if self._input is not None:
            self._input.finish()
        if self.terminal is not None:
            self.terminal.end_input()

    def finish(self) -> None:
        """Copies the rest of its output; it has ended."""
        if self._input is not None:
            self._input.close()
        if self.terminal is not None:
            self.terminal.finish()

    def close(self) -> None:
        """Lets go of its streams."""
        self._close_ends()
        if self._input is not None:
            self._input.close()
        if self.terminal is not None:
            self.terminal.close()


class Task:
    """A container, its first process, and the execs in it by their ids."""

    def __init__(self, task_id: str, container: Container, paths: Paths) -> None:
        self.id = task_id
        self.container = container
        self.init = Process(self, "", paths)
        self.execs: dict[str, Process] = {}
        self.oom_kills = 0

    def process(self, exec_id: str) -> Process:
        """The process of this exec; the first one for "".

        Raises:
            NotFound: there is none.
        """
        if not exec_id:
            return self.init
        process = self.execs.get(exec_id)
        if process is None:
            raise NotFound(f"there is no process {exec_id} in task {self.id}")
        return process


class _Coming(Record):
    """A task whose first process is being made: `waiting` are to be called when that is settled."""

    task: Task
    creation: Creation
    settled: Callable[[BaseException | None], None]
    waiting: list[Callable[[], None]] = []


class Tasks:
    """All tasks of a server."""

    def __init__(self, loop: Loop, publisher: Publisher) -> None:
        self._loop = loop
        self._publisher = publisher
        self._tasks: dict[str, Task] = {}
        self._by_pid: dict[int, Process] = {}
        self._coming: dict[str, _Coming] = {}

    def __len__(self) -> int:
        return len(self._tasks) + len(self._coming)

    @property
    def some_coming(self) -> bool:
        """Whether any task is being made."""
        return bool(self._coming)

    def when_settled(self, task_id: str, callback: Callable[[], None]) -> bool:
        """Calls `callback` when the task of this id, which is being made, stands or has failed; false if none is."""
        coming = self._coming.get(task_id)
        if coming is not None:
            coming.waiting.append(callback)
        return coming is not None

    def find(self, task_id: str) -> Task:
        """
        Raises:
            NotFound: there is none of this id.
        """
        task = self._tasks.get(task_id)
        if task is None:
            raise NotFound(f"there is no task {task_id[:80]!r}")
        return task

    def check_free(self, task_id: str) -> None:
        """
        Raises:
            Exists: there is a task of this id.
        """
        if task_id in self._tasks:
            raise Exists(f"there is a task {task_id!r} already")

    def create(self, task: Task, settled: Callable[[BaseException | None], None]) -> None:
        """Begins to make a task's first process, up to its workload; other tasks are served meanwhile.

        Args:
            settled: is called, now or later, when it stands, or with what stopped it; nothing is left of it then.
        """
        try:
            creation = task.init.begin(self._loop, task.container.create)
        except BaseException as error:
            self._give_up(task, error, settled)
            return
        if isinstance(creation, int):
            self._stands(task, creation, settled)
            return
        coming = self._coming[task.id] = _Coming(task, creation, settled)
        self._loop.watch(creation.fd, READABLE, lambda _: self._hear(coming))

    def _hear(self, coming: _Coming) -> None:
        """What a process on its way has said; nothing is fine."""
        task, creation = coming.task, coming.creation
        fd, error, stands = creation.fd, None, False
        try:
            while not stands and _can_be_read(fd):
                stands = creation.hear()
        except Exception as failure:
            error = failure
        if not stands and error is None:
            return
        self._loop.forget(fd)
        del self._coming[task.id]
        if error is None:
            self._stands(task, creation.pid, coming.settled)
        else:
            task.init.close()
            self._give_up(task, error, coming.settled)
        for callback in coming.waiting:
            callback()

    def _stands(self, task: Task, pid: int, settled: Callable[[BaseException | None], None]) -> None:
        try:
            task.init.begun(self._loop, pid)
        except Exception as error:
            self._give_up(task, error, settled)
            return
        self._tasks[task.id] = task
        self._by_pid[pid] = task.init
        settled(None)

    def _give_up(
        self, task: Task, error: BaseException, settled: Callable[[BaseException | None], None]
    ) -> None:
        try:
            self._discard(task)
        except SampanError:  # what stopped it says more than what is stuck of it
            pass
        settled(error)

    def launch(self, process: Process) -> None:
        """Begins the process of an exec.

        Raises:
            SampanError: what stopped it.
        """
        container, spec = process.task.container, process.spec
        assert spec is not None  # it is an exec's
        pid = process.begin(self._loop, lambda ends, console: container.execute(spec, ends, console))
        process.begun(self._loop, pid)
        process.status = RUNNING
        self._by_pid[process.pid] = process

    def collect(self) -> None:
        """Takes note of every child that has ended."""
        for coming in list(self._coming.values()):  # what one said before its end comes first
            self._hear(coming)
        for pid, status in endings():
            process = self._by_pid.pop(pid, None)
            if process is not None:  # others are orphans of a container
                self._ended(process, status)

    def _ended(self, process: Process, wait_status: int) -> None:
        task, code = process.task, os.waitstatus_to_exitcode(wait_status)
        process.exited_at = time.time_ns()
        process.exit_status = code if code >= 0 else 128 - code
        process.status = STOPPED
        self._tell_oom(task)
        exit_event = messages.TaskExit(
            task.id, process.exec_id or task.id, process.pid, process.exit_status, process.exited
        )
        self._publisher.publish(exit_event)
        for call in process.waiting:
            call.answer(messages.WaitResponse(process.exit_status, process.exited))
        process.waiting.clear()
        process.finish()
        if process is task.init:
            self._loop.soon(lambda: self._tidy(task))

    def _tell_oom(self, task: Task) -> None:
        try:
            kills = task.container.cgroup.oom_kills()
        except SampanError:  # it has none any more
            return
        if kills > task.oom_kills:
            task.oom_kills = kills
            self._publisher.publish(messages.TaskOOM(task.id))

    def _tidy(self, task: Task) -> None:
        """What an ended container needs no more; nobody has to wait for it."""
        if self._tasks.get(task.id) is not task:  # it was deleted meanwhile
            return
        init = task.init
        task.container.ended(
            init.exit_status, "killed" if init.exit_status == 137 else "exited", init.exited_at
        )
        if task.container.outlives_its_process:
            try:
                task.container.signal_all(SIGKILL)
            except SampanError:  # there is nobody any more
                pass
        rootfs.remove(task.container.bundle)

    def delete(self, task: Task) -> None:
        """Removes a task that does not run.

        Raises:
            Precondition: it does. SampanError: something is stuck in the kernel; the task is gone all the same.
        """
        if task.init.status in (RUNNING, PAUSED):
            raise Precondition(f"task {task.id} is still running", fix="kill it first")
        for process in task.execs.values():
            process.close()
        try:
            self._discard(task)
        finally:
            self.collect()  # one that was never started was killed just now
            self._by_pid = {pid: p for pid, p in self._by_pid.items() if p.task is not task}
            self._tasks.pop(task.id, None)
            init = task.init
            self._publisher.publish(
                messages.TaskDelete(task.id, init.pid, init.exit_status, init.exited, task.id)
            )

    def _discard(self, task: Task) -> None:
        task.init.close()
        try:
            task.container.remove()
        finally:
            rootfs.remove(task.container.bundle)


def _can_be_read(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
