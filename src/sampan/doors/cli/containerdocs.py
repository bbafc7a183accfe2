"""A container as a document: what `sampan inspect` prints, in Docker's words, and Sampan's own below `Sampan`."""

from __future__ import annotations

from sampan.container.records import Exit, Restart, State
from sampan.container.store import CREATED, RUNNING
from sampan.core.errors import SampanError
from sampan.core.spec.runtime import Process, Resources
from sampan.core.units import rfc3339
from sampan.doors.cli.containerrows import (
    RESTARTING,
    bound_ports,
    guest_end,
    mount_name,
    mounts_of,
    published,
    state_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.container.records import Container
    from sampan.container.store import Entry
    from sampan.core.spec.runtime import Mount, Spec
    from sampan.doors.cli.context import Context
    from sampan.engine.grants import PortMap

NEVER = "0001-01-01T00:00:00Z"
CPU_PERIOD = 100_000


def document(context: Context, entry: Entry, *, sized: bool = False) -> dict[str, Any]:
    """Docker's document on one container.

    Args:
        sized: with `SizeRw` and `SizeRootFs`, which take a walk over its files.

    Raises:
        DataLoss: its spec cannot be read.
    """
    container, spec, state = entry.container, entry.spec, state_of(context, entry)
    process = spec.process or Process()
    volumes = f"{context.roots.data}/volumes"
    mounts = mounts_of(spec)
    found = {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": process.args[0] if process.args else "",
        "Args": process.args[1:],
        "State": _state(state),
        "Image": container.image_id or container.image,
        "LogPath": container.log_path or f"{entry.folder}/log.0",
        "Name": f"/{container.name}",
        "RestartCount": entry.restarts.count,
        "Driver": "sampan",
        "Platform": "linux" if container.linux_runtime else "wasi",
        "HostConfig": _host_config(container, spec, mounts),
        "Mounts": [_mount(mount, volumes) for mount in mounts],
        "Config": _config(container, spec, process),
        "NetworkSettings": {"Ports": _ports(container, _bound(context, entry, state))},
        "Sampan": _own(entry, spec, state),
    }
    if sized:
        from sampan.linux.diskusage import bytes_in

        own = bytes_in(f"{entry.folder}/upper")
        found["SizeRw"] = own
        found["SizeRootFs"] = own + (bytes_in(container.lower) if container.lower else 0)
    return found


def _state(state: State) -> dict[str, Any]:
    ended = state.exit
    return {
        "Status": state.status,
        "Running": state.status in (RUNNING, RESTARTING),
        "Paused": False,
        "Restarting": state.status == RESTARTING,
        "OOMKilled": ended is not None and ended.reason in ("oom", "memory"),
        "Dead": False,
        "Pid": state.running.target[0] if state.running is not None and state.status == RUNNING else 0,
        "ExitCode": ended.code if ended is not None else 0,
        "Error": ended.message if ended is not None and ended.reason == "error" else "",
        "StartedAt": rfc3339(state.running.started) if state.running is not None else NEVER,
        "FinishedAt": rfc3339(ended.finished) if ended is not None else NEVER,
    }


def _host_config(container: Container, spec: Spec, mounts: list[Mount]) -> dict[str, Any]:
    resources = (spec.linux.resources if spec.linux is not None else None) or Resources()
    restart = container.restart or Restart()
    cpu, memory, pids = resources.cpu, resources.memory, resources.pids
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in published(container):
        wanted = {"HostIp": port.host_address, "HostPort": str(port.host_port) if port.host_port else ""}
        bindings.setdefault(guest_end(port), []).append(wanted)
    quota, period = (cpu.quota or 0, cpu.period or CPU_PERIOD) if cpu is not None else (0, CPU_PERIOD)
    return {
        "Binds": [
            f"{m.source}:{m.destination}" + (":ro" if m.read_only else "") for m in mounts if m.type == "bind"
        ],
        "Tmpfs": {m.destination: ",".join(m.options) for m in mounts if m.type == "tmpfs"},
        "NetworkMode": container.network.mode if container.network is not None else "none",
        "PortBindings": bindings,
        "RestartPolicy": {"Name": restart.policy, "MaximumRetryCount": restart.most},
        "AutoRemove": container.auto_remove,
        "ReadonlyRootfs": spec.root is not None and spec.root.readonly,
        "Memory": (memory.limit or 0) if memory is not None else 0,
        "NanoCpus": quota * 10**9 // period if quota > 0 else 0,
        "CpuShares": (cpu.shares or 0) if cpu is not None else 0,
        "PidsLimit": pids.limit if pids is not None else None,
        "Privileged": False,
        "Ulimits": [
            {"Name": limit.type.removeprefix("RLIMIT_").lower(), "Hard": limit.hard, "Soft": limit.soft}
            for limit in (spec.process.rlimits if spec.process is not None else [])
        ],
    }


def _mount(mount: Mount, volumes: str) -> dict[str, Any]:
    name = mount_name(mount, volumes)
    is_volume = mount.type == "bind" and name != mount.source
    return {
        "Type": "volume" if is_volume else mount.type,
        **({"Name": name} if is_volume else {}),
        "Source": mount.source if mount.type == "bind" else "",
        "Destination": mount.destination,
        "Mode": ",".join(option for option in mount.options if option != "bind"),
        "RW": not mount.read_only,
        "Propagation": "",
    }


def _config(container: Container, spec: Spec, process: Process) -> dict[str, Any]:
    user = process.user
    return {
        "Hostname": spec.hostname,
        "Domainname": "",
        "User": f"{user.uid}:{user.gid}" if user is not None and (user.uid or user.gid) else "",
        "ExposedPorts": {guest_end(port): {} for port in published(container)},
        "Tty": process.terminal,
        "OpenStdin": container.keep_stdin,
        "Env": process.env,
        "Cmd": process.args,
        "Image": container.image,
        "WorkingDir": process.cwd,
        "Entrypoint": None,
        "Labels": container.labels,
        "StopSignal": container.stop_signal,
        "StopTimeout": container.stop_timeout,
    }


def _bound(context: Context, entry: Entry, state: State) -> list[PortMap]:
    if state.status != RUNNING or not published(entry.container):
        return []
    try:
        return bound_ports(entry)
    except SampanError as error:
        context.warn(f"the ports of container {entry.container.name} are not known: {error}")
        return []


def _ports(container: Container, bound: list[PortMap]) -> dict[str, Any]:
    """Docker's form: what leads to a guest's port, `null` where nothing does."""
    ports: dict[str, Any] = dict.fromkeys(map(guest_end, published(container)))
    for port in bound:
        ports[guest_end(port)] = [
            *(ports.get(guest_end(port)) or []),
            {"HostIp": port.host_address or "0.0.0.0", "HostPort": str(port.host_port)},  # noqa: S104 - only shown
        ]
    return ports


def _own(entry: Entry, spec: Spec, state: State) -> dict[str, Any]:
    """What Docker has no field for: the walls that this run lacks, how it ended, its limits inside the engine."""
    container, ended = entry.container, state.exit or Exit(0, "", 0)
    return {
        "Bundle": entry.folder,
        "Module": container.module,
        "RootFS": container.lower,
        "Preopens": [preopen.to_json() for preopen in container.preopens],
        "Strict": container.strict,
        "Waived": container.waived,
        "MissingWalls": state.running.missing if state.running is not None else [],
        "Reason": ended.reason if state.status != CREATED else "",
        "Message": ended.message,
        "Limits": _limits(container),
        "Annotations": spec.annotations,
    }


def _limits(container: Container) -> dict[str, Any]:
    limits = container.limits
    if limits is None:
        return {}
    return {
        "Memory": limits.memory,
        "TableElements": limits.table_elements,
        "Stack": limits.stack,
        "Deadline": limits.deadline,
        "Fuel": limits.fuel,
    }
