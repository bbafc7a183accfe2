"""What is told of pods and containers: the API's messages, made from their documents and their states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict

from sampan.container.store import CREATED, EXITED, RUNNING
from sampan.core import strictjson
from sampan.core.record import Record
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.specs.stopsignals import signal_of

if TYPE_CHECKING:
    from sampan.container.records import State
    from sampan.container.store import Entry
    from sampan.doors.cri.documents import Pod, PodContainer

COMPLETED, ERROR, OOM_KILLED = "Completed", "Error", "OOMKilled"
START_ERROR, UNKNOWN = "StartError", "Unknown"
START_CODE, LOST_CODE = 128, 255  # as containerd says them
BROKEN = "DamagedRecord"
_STATES = {CREATED: api.CONTAINER_CREATED, RUNNING: api.CONTAINER_RUNNING, EXITED: api.CONTAINER_EXITED}


class Ending(Record):
    """How a run ended, in the words of CRI; times in ns since 1970."""

    code: int = 0
    reason: str = ""
    message: str = ""
    started: int = 0
    finished: int = 0


def ending_of(state: State) -> Ending:
    """What CRI says of a container's last run; an empty one where there was none, without an end while it runs."""
    started = state.running.started if state.running is not None else 0
    record = state.exit
    if record is None:
        return Ending(started=started)
    if state.running is None:
        return Ending(START_CODE, START_ERROR, record.message, 0, record.finished)
    code, reason = record.code, COMPLETED if record.code == 0 else ERROR
    if record.reason in ("oom", "memory"):
        reason = OOM_KILLED
    elif record.reason == "lost":
        code, reason = LOST_CODE, UNKNOWN
    return Ending(code, reason, record.message, started, max(record.finished, started))


def listed_container(record: PodContainer) -> api.Container:
    """A container of a list, but for its state."""
    config = record.config
    return api.Container(
        id=record.id,
        pod_sandbox_id=record.pod,
        metadata=config.metadata,
        image=config.image,
        image_ref=record.image_ref,
        image_id=record.image_id,
        created_at=record.created,
        labels=config.labels,
        annotations=config.annotations,
    )


def container_status(record: PodContainer, state: State, stop_signal: str) -> api.ContainerStatus:
    """What ContainerStatus tells of a container that can be read."""
    config, ending = record.config, ending_of(state)
    return api.ContainerStatus(
        id=record.id,
        metadata=config.metadata,
        state=_STATES[state.status],
        created_at=record.created,
        started_at=ending.started,
        finished_at=ending.finished,
        exit_code=ending.code,
        reason=ending.reason,
        message=ending.message,
        image=config.image,
        image_ref=record.image_ref,
        image_id=record.image_id,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=record.log_path,
        resources=api.ContainerResources(linux=config.linux.resources),
        user=_user(record),
        stop_signal=signal_of(stop_signal),
    )


def container_state(state: State | None) -> api.ContainerState:
    """The API's word for a state; None is that of a container whose documents cannot be read."""
    return api.CONTAINER_UNKNOWN if state is None else _STATES[state.status]


def broken_status(record: PodContainer, why: str) -> api.ContainerStatus:
    """What ContainerStatus tells of a container whose documents cannot be read."""
    return api.ContainerStatus(
        id=record.id,
        metadata=record.config.metadata,
        state=api.CONTAINER_UNKNOWN,
        created_at=record.created,
        reason=BROKEN,
        message=why,
        log_path=record.log_path,
    )


def container_info(record: PodContainer, entry: Entry, pid: int) -> dict[str, str]:
    """What `crictl inspect` shows of a container: `info`, one JSON object."""
    document = {
        "sandboxID": record.pod,
        "pid": pid,
        "bundle": entry.folder,
        "config": MessageToDict(record.config),
        "container": entry.container,
        "runtimeSpec": entry.spec,
    }
    return {"info": strictjson.dumps(document).decode()}


def _user(record: PodContainer) -> api.ContainerUser | None:
    if record.user < 0:
        return None
    groups = record.groups
    return api.ContainerUser(
        linux=api.LinuxContainerUser(uid=record.user, gid=record.group, supplemental_groups=groups)
    )


def listed_pod(pod: Pod) -> api.PodSandbox:
    """A sandbox of a list, but for its state."""
    config = pod.config
    return api.PodSandbox(
        id=pod.id,
        metadata=config.metadata,
        created_at=pod.created,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=pod.handler,
    )


def pod_state(*, is_ready: bool) -> api.PodSandboxState:
    """The API has two of them only."""
    return api.SANDBOX_READY if is_ready else api.SANDBOX_NOTREADY


def pod_status(pod: Pod, *, is_ready: bool) -> api.PodSandboxStatus:
    """What PodSandboxStatus tells; addresses only while the sandbox is ready."""
    config = pod.config
    ips = pod.ips if is_ready else []
    options = config.linux.security_context.namespace_options
    return api.PodSandboxStatus(
        id=pod.id,
        metadata=config.metadata,
        state=pod_state(is_ready=is_ready),
        created_at=pod.created,
        network=api.PodSandboxNetworkStatus(
            ip=ips[0] if ips else "", additional_ips=[api.PodIP(ip=ip) for ip in ips[1:]]
        ),
        linux=api.LinuxPodSandboxStatus(namespaces=api.Namespace(options=options)),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=pod.handler,
    )


def pod_info(pod: Pod, broken: str) -> dict[str, str]:
    """What `crictl inspectp` shows of a sandbox: `info`, one JSON object. No process holds it: its pid is 0."""
    document = {
        "pid": 0,
        "phase": pod.phase,
        "runtimeHandler": pod.handler,
        "engine": pod.engine,
        "namespaces": pod.spaces,
        "config": MessageToDict(pod.config),
        **({"problem": broken} if broken else {}),
    }
    return {"info": strictjson.dumps(document).decode()}
