"""Containers as lines of a table, in Docker's words. It imports next to nothing: `sampan ps` must be quick."""

from __future__ import annotations

import os
import time

from sampan.container.records import RESOLVER_FILES, State
from sampan.container.store import RUNNING
from sampan.core.errors import SampanError, printable
from sampan.core.units import show_age
from sampan.doors.cli.output import SHORT_ID, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.container.records import Container
    from sampan.container.store import Entry
    from sampan.core.spec.runtime import Mount, Spec
    from sampan.doors.cli.context import Context
    from sampan.engine.grants import PortMap

RESTARTING, UNKNOWN = "restarting", "unknown"
MAX_COMMAND = 20
MAX_MOUNTS = 20
PORTS_SECONDS = 0.5


def state_of(context: Context, entry: Entry) -> State:
    """A container's state now, `restarting` and `unknown` among them; what cannot be read is a warning."""
    try:
        state = entry.state()
        return State(RESTARTING, state.running, state.exit) if is_due(entry, state) else state
    except SampanError as error:
        context.warn(str(error))
        return State(UNKNOWN)


def is_due(entry: Entry, state: State) -> bool:
    """Whether it has ended and its restart policy is about to start it again, or is at it."""
    policy = entry.container.restart
    if policy is None or policy.policy == "no" or state.status == RUNNING:
        return False
    if state.exit is None:
        restarts = entry.restarts
        return restarts.count > 0 and not restarts.stopped_by_user
    from sampan.container.restarts import wants_restart

    return wants_restart(entry, state.exit)


def status_text(state: State, now: int) -> str:
    """`Up 4 hours`, `Exited (0) 2 minutes ago`, `Created`; `now` in nanoseconds since 1970."""
    if state.status == RUNNING and state.running is not None:
        return f"Up {_age(state.running.started, now)}"
    if state.exit is not None:
        word = "Restarting" if state.status == RESTARTING else "Exited"
        return f"{word} ({state.exit.code}) {_age(state.exit.finished, now)} ago"
    return state.status.capitalize()


def _age(moment: int, now: int) -> str:
    return show_age((now - moment) / 10**9)


def command_text(args: list[str], *, full: bool) -> str:
    """The command in quotes, cut after 20 characters unless `full`."""
    text = " ".join(args)
    if not full:
        text = shorten(text, MAX_COMMAND)
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def bound_ports(entry: Entry) -> list[PortMap]:
    """The published ports that a running container has bound, with the host's real ports.

    Raises:
        SampanError: it does not say, within half a second.
    """
    from sampan.container import control
    from sampan.engine.grants import PortMap

    answer, _ = control.ask(entry.folder, {"do": "ports"}, PORTS_SECONDS)
    return [PortMap.from_json(port) for port in answer]


def published(container: Container) -> list[PortMap]:
    """What `-p` asked for."""
    return container.network.ports if container.network is not None else []


def ports_text(container: Container, bound: list[PortMap]) -> str:
    """`127.0.0.1:8080->80/tcp` for what the guest has bound, `80/tcp` for what it has not."""
    taken = {(port.guest_port, port.protocol) for port in bound}
    left = [port for port in published(container) if (port.guest_port, port.protocol) not in taken]
    shown = {f"{host_end(port)}->{guest_end(port)}": port.guest_port for port in bound}
    shown.update({guest_end(port): port.guest_port for port in left})
    return ", ".join(sorted(shown, key=lambda text: (shown[text], text)))


def host_end(port: PortMap) -> str:
    """`127.0.0.1:8080`; all addresses are `0.0.0.0`, as Docker writes it."""
    address = port.host_address or "0.0.0.0"  # noqa: S104 - only shown
    return f"[{address}]:{port.host_port}" if ":" in address else f"{address}:{port.host_port}"


def guest_end(port: PortMap) -> str:
    """`80/tcp`."""
    return f"{port.guest_port}/{port.protocol}"


def mounts_of(spec: Spec) -> list[Mount]:
    """The mounts that somebody asked for, without the host's resolver files."""
    return [m for m in spec.mounts if not _comes_by_itself(m)]


def _comes_by_itself(mount: Mount) -> bool:
    if mount.destination.startswith(("/proc", "/sys", "/dev")):
        from sampan.container.linuxdefaults import is_default

        return is_default(mount)
    return mount.destination in RESOLVER_FILES and mount.source == os.path.realpath(mount.destination)


def mount_name(mount: Mount, volumes: str) -> str:
    """What a mount is called: a volume's name, else its source."""
    return mount.source.removeprefix(f"{volumes}/")


def row(context: Context, entry: Entry, state: State, *, full: bool, size: str = "0B") -> dict[str, Any]:
    """A line of `sampan ps`, with Docker's fields.

    Args:
        full: nothing is shortened.
    """
    from sampan.doors.cli.imagerows import local_time

    container, now = entry.container, time.time_ns()
    args, mounts = _said_by_spec(context, entry)
    return {
        "Command": command_text(args, full=full),
        "CreatedAt": local_time(container.created),
        "ID": container.id if full else container.id[:SHORT_ID],
        "Image": container.image,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container.labels.items())),
        "LocalVolumes": str(sum("/" not in name for name in mounts)),
        "Mounts": ",".join(name if full else shorten(name, MAX_MOUNTS) for name in mounts),
        "Names": container.name,
        "Networks": container.network.mode if container.network is not None else "none",
        "Ports": ports_text(container, _bound_now(context, entry, state)) if state.status == RUNNING else "",
        "RunningFor": f"{_age(container.created, now)} ago",
        "Size": size,
        "State": state.status,
        "Status": status_text(state, now),
    }


def _said_by_spec(context: Context, entry: Entry) -> tuple[list[str], list[str]]:
    """The command and the names of the mounts; nothing of a spec that cannot be read, but a warning."""
    try:
        spec = entry.spec
    except SampanError as error:
        context.warn(str(error))
        return [], []
    volumes = f"{context.roots.data}/volumes"
    args = spec.process.args if spec.process is not None else []
    return args, [mount_name(mount, volumes) for mount in mounts_of(spec) if mount.type == "bind"]


def _bound_now(context: Context, entry: Entry, state: State) -> list[PortMap]:
    if not published(entry.container):
        return []
    try:
        return bound_ports(entry)
    except SampanError as error:
        context.warn(f"the ports of container {entry.container.name} are not known: {error}")
        return []
