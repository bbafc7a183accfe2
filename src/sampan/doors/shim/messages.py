"""The messages of containerd's Task API, of its events and of what a shim says of itself.

Field numbers are those of containerd's api/runtime/task (v2 and v3 are the same), api/events/task.proto,
api/types and runc's options; times and Any are Google's well-known types.
"""

from __future__ import annotations

from sampan.wire.protobuf import (
    BOOL,
    BYTES,
    INT32,
    INT64,
    STRING,
    UINT32,
    Message,
    field,
    message,
    repeated,
)

UNKNOWN, CREATED, RUNNING, STOPPED, PAUSED, PAUSING = range(6)
"""A task's status."""


class Empty(Message):
    pass


class Timestamp(Message):
    seconds: int = field(1, INT64)
    nanos: int = field(2, INT32)

    @classmethod
    def of(cls, nanoseconds: int) -> Timestamp:
        """A time in nanoseconds since 1970."""
        return cls(*divmod(nanoseconds, 10**9))


class Any(Message):
    """A message of a type that its URL names; containerd's values of the OCI specification are JSON."""

    type_url: str = field(1, STRING)
    value: bytes = field(2, BYTES)


class Pair(Message):
    key: str = field(1, STRING)
    value: str = field(2, STRING)


class Mount(Message):
    type: str = field(1, STRING)
    source: str = field(2, STRING)
    target: str = field(3, STRING)
    options: list[str] = field(4, repeated(STRING))


class RuncOptions(Message):
    no_pivot_root: bool = field(1, BOOL)
    no_new_keyring: bool = field(2, BOOL)
    shim_cgroup: str = field(3, STRING)
    io_uid: int = field(4, UINT32)
    io_gid: int = field(5, UINT32)
    binary_name: str = field(6, STRING)
    root: str = field(7, STRING)
    systemd_cgroup: bool = field(9, BOOL)


class RuntimeOptions(Message):
    """What CRI passes on for runtimes that it does not know: a configuration in TOML."""

    type_url: str = field(1, STRING)
    config_path: str = field(2, STRING)
    config_body: bytes = field(3, BYTES)


# -- the Task API


class CreateRequest(Message):
    id: str = field(1, STRING)
    bundle: str = field(2, STRING)
    rootfs: list[Mount] = field(3, repeated(message(Mount)))
    terminal: bool = field(4, BOOL)
    stdin: str = field(5, STRING)
    stdout: str = field(6, STRING)
    stderr: str = field(7, STRING)
    checkpoint: str = field(8, STRING)
    parent_checkpoint: str = field(9, STRING)
    options: Any | None = field(10, message(Any))


class PidResponse(Message):
    """The answer to Create and to Start."""

    pid: int = field(1, UINT32)


class AboutTask(Message):
    """What all requests about a task begin with: all but Connect's and Shutdown's, which any task may send."""

    id: str = field(1, STRING)


class TaskRequest(Message):
    """A request about a task, or about the process of an exec in it: Start, State, Delete, Wait.

    Those about the task alone (Pids, Pause, Resume, Stats, Connect) have no `exec_id`.
    """

    id: str = field(1, STRING)
    exec_id: str = field(2, STRING)


class DeleteResponse(Message):
    pid: int = field(1, UINT32)
    exit_status: int = field(2, UINT32)
    exited_at: Timestamp | None = field(3, message(Timestamp))


class ExecRequest(Message):
    id: str = field(1, STRING)
    exec_id: str = field(2, STRING)
    terminal: bool = field(3, BOOL)
    stdin: str = field(4, STRING)
    stdout: str = field(5, STRING)
    stderr: str = field(6, STRING)
    spec: Any | None = field(7, message(Any))


class ResizeRequest(Message):
    id: str = field(1, STRING)
    exec_id: str = field(2, STRING)
    width: int = field(3, UINT32)
    height: int = field(4, UINT32)


class StateResponse(Message):
    id: str = field(1, STRING)
    bundle: str = field(2, STRING)
    pid: int = field(3, UINT32)
    status: int = field(4, INT32)
    stdin: str = field(5, STRING)
    stdout: str = field(6, STRING)
    stderr: str = field(7, STRING)
    terminal: bool = field(8, BOOL)
    exit_status: int = field(9, UINT32)
    exited_at: Timestamp | None = field(10, message(Timestamp))
    exec_id: str = field(11, STRING)


class KillRequest(Message):
    id: str = field(1, STRING)
    exec_id: str = field(2, STRING)
    signal: int = field(3, UINT32)
    all: bool = field(4, BOOL)


class CloseRequest(Message):
    id: str = field(1, STRING)
    exec_id: str = field(2, STRING)
    stdin: bool = field(3, BOOL)


class ProcessInfo(Message):
    pid: int = field(1, UINT32)
    info: Any | None = field(2, message(Any))


class ProcessDetails(Message):
    exec_id: str = field(1, STRING)


class PidsResponse(Message):
    processes: list[ProcessInfo] = field(1, repeated(message(ProcessInfo)))


class UpdateRequest(Message):
    id: str = field(1, STRING)
    resources: Any | None = field(2, message(Any))
    annotations: list[Pair] = field(3, repeated(message(Pair)))


class WaitResponse(Message):
    exit_status: int = field(1, UINT32)
    exited_at: Timestamp | None = field(2, message(Timestamp))


class StatsResponse(Message):
    stats: Any | None = field(1, message(Any))


class ConnectResponse(Message):
    shim_pid: int = field(1, UINT32)
    task_pid: int = field(2, UINT32)
    version: str = field(3, STRING)


class ShutdownRequest(Message):
    id: str = field(1, STRING)
    now: bool = field(2, BOOL)


# -- events


class TaskIO(Message):
    stdin: str = field(1, STRING)
    stdout: str = field(2, STRING)
    stderr: str = field(3, STRING)
    terminal: bool = field(4, BOOL)


class TaskCreate(Message):
    container_id: str = field(1, STRING)
    bundle: str = field(2, STRING)
    rootfs: list[Mount] = field(3, repeated(message(Mount)))
    io: TaskIO | None = field(4, message(TaskIO))
    checkpoint: str = field(5, STRING)
    pid: int = field(6, UINT32)


class TaskStart(Message):
    container_id: str = field(1, STRING)
    pid: int = field(2, UINT32)


class TaskDelete(Message):
    container_id: str = field(1, STRING)
    pid: int = field(2, UINT32)
    exit_status: int = field(3, UINT32)
    exited_at: Timestamp | None = field(4, message(Timestamp))
    id: str = field(5, STRING)


class TaskExit(Message):
    container_id: str = field(1, STRING)
    id: str = field(2, STRING)
    pid: int = field(3, UINT32)
    exit_status: int = field(4, UINT32)
    exited_at: Timestamp | None = field(5, message(Timestamp))


class TaskOOM(Message):
    container_id: str = field(1, STRING)


class TaskExecAdded(Message):
    container_id: str = field(1, STRING)
    exec_id: str = field(2, STRING)


class TaskExecStarted(Message):
    container_id: str = field(1, STRING)
    exec_id: str = field(2, STRING)
    pid: int = field(3, UINT32)


class TaskPaused(Message):
    container_id: str = field(1, STRING)


class TaskResumed(Message):
    container_id: str = field(1, STRING)


class Envelope(Message):
    timestamp: Timestamp | None = field(1, message(Timestamp))
    namespace: str = field(2, STRING)
    topic: str = field(3, STRING)
    event: Any | None = field(4, message(Any))


class ForwardRequest(Message):
    envelope: Envelope | None = field(1, message(Envelope))


# -- what a shim says of itself


class RuntimeVersion(Message):
    version: str = field(1, STRING)
    revision: str = field(2, STRING)


class RuntimeInfo(Message):
    name: str = field(1, STRING)
    version: RuntimeVersion | None = field(2, message(RuntimeVersion))
    options: Any | None = field(3, message(Any))
    features: Any | None = field(4, message(Any))
    annotations: list[Pair] = field(5, repeated(message(Pair)))
