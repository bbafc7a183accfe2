"""containerd's Task service, v2 and v3, which have the same messages: each call, and what it does to the tasks.

Errors are containerd's kinds: a task or process that is not there, or has ended when it is to be signalled, is
NOT_FOUND; a wrong state is PRECONDITION; an id that is taken is EXISTS.
"""

from __future__ import annotations

import os

import sampan
from sampan.core import strictjson
from sampan.core.errors import Exists, Invalid, NotFound, Precondition, Unimplemented
from sampan.core.spec.checks import check_process
from sampan.core.spec.runtime import Process as ProcessSpec
from sampan.core.spec.runtime import Resources
from sampan.doors.shim import creation, messages
from sampan.doors.shim.connections import as_refusal
from sampan.doors.shim.messages import CREATED, PAUSED, RUNNING, STOPPED, Empty
from sampan.doors.shim.metrics import measure
from sampan.doors.shim.streams import Paths
from sampan.doors.shim.tasks import Process, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sampan.doors.shim.connections import Call
    from sampan.doors.shim.events import Publisher
    from sampan.doors.shim.pod import Pod
    from sampan.doors.shim.tasks import Tasks
    from sampan.wire.protobuf import Message

SERVICES = ("containerd.task.v2.Task", "containerd.task.v3.Task")
OWN_SERVICE = "sampan.shim.v1.Pod"
SIGKILL = 9
_FOR_ALL = ("Shutdown", "Connect")
MAX_ID = 76  # containerd's own limit
_PROCESS_TYPE, _RESOURCES_TYPE = "Process", "LinuxResources"


class Service:
    """Answers calls.

    Args:
        expect: is told the id of a task that will come, so that the server stays for it; and that it came.
        shut_down: is asked to end the server, once it may.
    """

    def __init__(
        self,
        pod: Pod,
        tasks: Tasks,
        publisher: Publisher,
        expect: Callable[[str, bool], None],
        shut_down: Callable[[], None],
    ) -> None:
        self._pod = pod
        self._tasks = tasks
        self._publisher = publisher
        self._expect = expect
        self._shut_down = shut_down
        self._methods: dict[str, tuple[type[Message], Callable[[Any], Message]]] = {
            "State": (messages.TaskRequest, self._state),
            "Start": (messages.TaskRequest, self._start),
            "Delete": (messages.TaskRequest, self._delete),
            "Pids": (messages.TaskRequest, self._pids),
            "Pause": (messages.TaskRequest, self._pause),
            "Resume": (messages.TaskRequest, self._resume),
            "Checkpoint": (messages.TaskRequest, self._checkpoint),
            "Kill": (messages.KillRequest, self._kill),
            "Exec": (messages.ExecRequest, self._exec),
            "ResizePty": (messages.ResizeRequest, self._resize),
            "CloseIO": (messages.CloseRequest, self._close_io),
            "Update": (messages.UpdateRequest, self._update),
            "Stats": (messages.TaskRequest, self._stats),
            "Connect": (messages.TaskRequest, self._connect),
            "Shutdown": (messages.ShutdownRequest, self._shutdown),
        }

    def serve(self, call: Call) -> None:
        """Answers a call, now or when what it waits for has come. Never raises."""
        request = call.request
        try:
            if request.service == OWN_SERVICE and request.method == "Expect":
                self._expect(messages.TaskRequest.decode(request.payload).id, True)
                call.answer(Empty())
            elif request.service not in SERVICES:
                raise Unimplemented(f"there is no service {request.service[:80]!r}")
            elif self._is_early(call):
                return
            elif request.method == "Create":
                self._create(call, messages.CreateRequest.decode(request.payload))
            elif request.method == "Wait":
                self._wait(call, messages.TaskRequest.decode(request.payload))
            elif request.method in self._methods:
                kind, method = self._methods[request.method]
                call.answer(method(kind.decode(request.payload)))
            else:
                raise Unimplemented(f"the service has no method {request.method[:80]!r}")
        except Exception as error:
            call.refuse(as_refusal(error))

    def _is_early(self, call: Call) -> bool:
        """Whether a call is about a task that is still being made; it is served when that is settled."""
        if not self._tasks.some_coming or call.request.method in _FOR_ALL:
            return False
        task_id = messages.AboutTask.decode(call.request.payload).id
        return self._tasks.when_settled(task_id, lambda: self.serve(call))

    def _create(self, call: Call, request: messages.CreateRequest) -> None:
        self._tasks.check_free(request.id)
        self._expect(request.id, False)
        paths = Paths(request.stdin, request.stdout, request.stderr, request.terminal)
        task = Task(request.id, creation.make(self._pod, request), paths)

        def settled(error: BaseException | None) -> None:
            if error is not None:
                call.refuse(as_refusal(error))
                return
            io = messages.TaskIO(request.stdin, request.stdout, request.stderr, request.terminal)
            pid = task.init.pid
            self._publisher.publish(
                messages.TaskCreate(task.id, request.bundle, request.rootfs, io, request.checkpoint, pid)
            )
            call.answer(messages.PidResponse(pid))

        self._tasks.create(task, settled)

    def _start(self, request: messages.TaskRequest) -> Message:
        task = self._tasks.find(request.id)
        process = task.process(request.exec_id)
        if process.status != CREATED:
            raise Precondition(f"the process {process.exec_id or task.id} was started already")
        if request.exec_id:
            if task.init.status != RUNNING:
                raise Precondition(f"task {task.id} is not running")
            self._tasks.launch(process)
            self._publisher.publish(messages.TaskExecStarted(task.id, process.exec_id, process.pid))
        else:
            task.container.start()
            process.status = RUNNING
            self._publisher.publish(messages.TaskStart(task.id, process.pid))
        return messages.PidResponse(process.pid)

    def _state(self, request: messages.TaskRequest) -> Message:
        task = self._tasks.find(request.id)
        process = task.process(request.exec_id)
        paths = process.paths
        return messages.StateResponse(
            task.id,
            task.container.bundle,
            process.pid,
            process.status,
            paths.stdin,
            paths.stdout,
            paths.stderr,
            paths.terminal,
            process.exit_status,
            process.exited,
            process.exec_id,
        )

    def _delete(self, request: messages.TaskRequest) -> Message:
        task = self._tasks.find(request.id)
        process = task.process(request.exec_id)
        if process is task.init:
            self._tasks.delete(task)
        else:
            if process.status in (RUNNING, PAUSED):
                raise Precondition(f"process {process.exec_id} is still running", fix="kill it first")
            process.close()
            del task.execs[process.exec_id]
        return messages.DeleteResponse(process.pid, process.exit_status, process.exited)

    def _wait(self, call: Call, request: messages.TaskRequest) -> None:
        process = self._tasks.find(request.id).process(request.exec_id)
        if process.status == STOPPED:
            call.answer(messages.WaitResponse(process.exit_status, process.exited))
        else:
            process.waiting.append(call)

    def _kill(self, request: messages.KillRequest) -> Message:
        task = self._tasks.find(request.id)
        process = task.process(request.exec_id)
        if not 0 < request.signal <= 64:
            raise Invalid(f"{request.signal} is not a signal number")
        if request.all and process is task.init:
            task.container.signal_all(request.signal)
        else:
            process.signal(request.signal)
        if request.signal == SIGKILL and task.init.status == PAUSED:
            task.container.wake()
        return Empty()

    def _exec(self, request: messages.ExecRequest) -> Message:
        task = self._tasks.find(request.id)
        if not request.exec_id or len(request.exec_id) > MAX_ID:
            raise Invalid(f"{request.exec_id[:80]!r} is not an id for an exec")
        if request.exec_id in task.execs:
            raise Exists(f"there is a process {request.exec_id} in task {task.id} already")
        spec = ProcessSpec.from_json(_json(request.spec, _PROCESS_TYPE), "process")
        spec.terminal = request.terminal
        check_process(spec)
        paths = Paths(request.stdin, request.stdout, request.stderr, request.terminal)
        task.execs[request.exec_id] = Process(task, request.exec_id, paths, spec)
        self._publisher.publish(messages.TaskExecAdded(task.id, request.exec_id))
        return Empty()

    def _resize(self, request: messages.ResizeRequest) -> Message:
        process = self._tasks.find(request.id).process(request.exec_id)
        if not process.paths.terminal:
            raise Precondition("the process has no terminal")
        if process.terminal is not None:
            process.terminal.resize(request.height, request.width)
        return Empty()

    def _close_io(self, request: messages.CloseRequest) -> Message:
        process = self._tasks.find(request.id).process(request.exec_id)
        if request.stdin:
            process.end_input()
        return Empty()

    def _pids(self, request: messages.TaskRequest) -> Message:
        task = self._tasks.find(request.id)
        execs = {process.pid: process.exec_id for process in task.execs.values()}
        pids = task.container.cgroup.pids()
        if (
            task.init.status == STOPPED and not pids
        ):  # containerd 2 takes a task without any for one never made
            pids = [task.init.pid]
        return messages.PidsResponse([_process_info(pid, execs.get(pid, "")) for pid in pids])

    def _pause(self, request: messages.TaskRequest) -> Message:
        init = self._tasks.find(request.id).init
        if init.status != RUNNING:
            raise Precondition(f"task {request.id} is not running")
        init.task.container.cgroup.freeze()
        init.status = PAUSED
        self._publisher.publish(messages.TaskPaused(request.id))
        return Empty()

    def _resume(self, request: messages.TaskRequest) -> Message:
        init = self._tasks.find(request.id).init
        if init.status != PAUSED:
            raise Precondition(f"task {request.id} is not paused")
        init.task.container.cgroup.thaw()
        init.status = RUNNING
        self._publisher.publish(messages.TaskResumed(request.id))
        return Empty()

    def _checkpoint(self, request: messages.TaskRequest) -> Message:
        raise Unimplemented(f"a checkpoint of task {request.id} cannot be made: its process cannot be saved")

    def _update(self, request: messages.UpdateRequest) -> Message:
        task = self._tasks.find(request.id)
        if task.init.status == STOPPED:
            raise Precondition(f"task {task.id} has ended")
        task.container.update(Resources.from_json(_json(request.resources, _RESOURCES_TYPE), "resources"))
        return Empty()

    def _stats(self, request: messages.TaskRequest) -> Message:
        task = self._tasks.find(request.id)
        if task.init.status == STOPPED:
            raise NotFound(f"task {task.id} has ended, and nothing is counted for it any more")
        return messages.StatsResponse(measure(task.container.cgroup))

    def _connect(self, request: messages.TaskRequest) -> Message:
        try:
            pid = self._tasks.find(request.id).init.pid
        except NotFound:  # it is asked before the first Create, too
            pid = 0
        return messages.ConnectResponse(os.getpid(), pid, sampan.__version__)

    def _shutdown(self, request: messages.ShutdownRequest) -> Message:
        self._expect(request.id, False)  # if it has not come, it will not
        self._shut_down()
        return Empty()


def _json(given: messages.Any | None, kind: str) -> object:
    """The document of an Any that holds a value of the OCI specification.

    Raises:
        Invalid: it holds none, or another one.
    """
    if given is None or not given.type_url.endswith(f"/{kind}"):
        found = repr(given.type_url[:80]) if given is not None else "nothing"
        raise Invalid(f"expected {kind} of the OCI specification, got {found}")
    return strictjson.loads(given.value, what=kind)


def _process_info(pid: int, exec_id: str) -> messages.ProcessInfo:
    details = messages.ProcessDetails(exec_id).encode()
    info = messages.Any("containerd.runc.v1.ProcessDetails", details) if exec_id else None
    return messages.ProcessInfo(pid, info)
