"""`sampan port`: which of the host's ports lead to a container."""

from __future__ import annotations

from sampan.container.store import RUNNING, Containers
from sampan.core.commandline import Command
from sampan.core.errors import NotFound
from sampan.doors.cli import listing
from sampan.doors.cli.containerrows import bound_ports, guest_end, host_end, published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context
    from sampan.engine.grants import PortMap


def run(context: Context, args: Arguments) -> int:
    name, *wanted = args.operands
    ports = _ports(Containers(context.roots).find(name))
    if not wanted:
        for port in ports:
            print(f"{guest_end(port)} -> {host_end(port)}")
        return 0
    guest = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
    fitting = [port for port in ports if guest_end(port) == guest]
    if not fitting:
        raise NotFound(f"no port of the host leads to port {guest[:40]!r} of container {name}")
    for port in fitting:
        print(host_end(port))
    return 0


def _ports(entry: Entry) -> list[PortMap]:
    """What is bound now; a container that does not run has nothing bound."""
    if not published(entry.container) or entry.status() != RUNNING:
        return []
    return sorted(bound_ports(entry), key=lambda port: (port.guest_port, port.protocol, port.host_port))


COMMAND = Command(
    "port",
    "CONTAINER [PORT[/PROTOCOL]]",
    listing.SUMMARIES["port"],
    run,
    operands="container",
    least=1,
    most=2,
    examples=["sampan port web", "sampan port web 8080"],
)
