"""`sampan ps`: the containers of this machine, as Docker lists them."""

from __future__ import annotations

from sampan.container.store import CREATED, EXITED, Containers
from sampan.core.commandline import Command, setting, switch
from sampan.doors.cli import listing
from sampan.doors.cli.containerrows import row, state_of
from sampan.doors.cli.output import (
    FORMAT,
    NO_TRUNC,
    QUIET,
    SHORT_ID,
    Column,
    filter_option,
    parse_filters,
    show,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import State
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

FILTERS = ("ancestor", "before", "exited", "id", "label", "name", "since", "status", "volume")
COLUMNS = [
    Column("ID", "CONTAINER ID"),
    Column("Image", "IMAGE"),
    Column("Command", "COMMAND"),
    Column("RunningFor", "CREATED"),
    Column("Status", "STATUS"),
    Column("Ports", "PORTS"),
    Column("Names", "NAMES"),
    Column("Size", "SIZE", shown=False),
    Column("CreatedAt", "CREATED AT", shown=False),
    Column("Labels", "LABELS", shown=False),
    Column("LocalVolumes", "LOCAL VOLUMES", shown=False),
    Column("Mounts", "MOUNTS", shown=False),
    Column("Networks", "NETWORKS", shown=False),
    Column("State", "STATE", shown=False),
]


def run(context: Context, args: Arguments) -> int:
    found = _chosen(context, args)
    full = args.on("no-trunc")
    if args.on("quiet"):
        for entry, _ in found:
            print(entry.container.id if full else entry.container.id[:SHORT_ID])
        return 0
    style = args.value("format")
    sized = args.on("size") or ".Size" in style
    rows = [
        row(context, entry, state, full=full, size=_size(entry) if sized else "0B") for entry, state in found
    ]
    columns = [c.replace(shown=True) if c.field == "Size" and args.on("size") else c for c in COLUMNS]
    show(rows, columns, style)
    return 0


def _chosen(context: Context, args: Arguments) -> list[tuple[Entry, State]]:
    """The containers to list, newest first, each with its state; a broken one is a warning."""
    containers = Containers(context.roots)
    entries, broken = containers.survey()
    for container_id, error in broken:
        context.warn(
            f"container {container_id[:SHORT_ID]} is broken: {error}; remove it: sampan rm -f {container_id}"
        )
    filters = parse_filters(args.values("filter"), FILTERS)
    most = _most(args)
    stopped_too = args.on("all") or most is not None or "status" in filters or "exited" in filters
    found = [(entry, state_of(context, entry)) for entry in entries]
    if not stopped_too:
        found = [(entry, state) for entry, state in found if state.status not in (CREATED, EXITED)]
    if filters:
        from sampan.doors.cli.containerfilters import Filters

        fit = Filters(context, containers, filters).fit
        found = [(entry, state) for entry, state in found if fit(entry, state)]
    return found[:most]


def _most(args: Arguments) -> int | None:
    """How many of the newest containers to list, running or not; None for all."""
    if args.on("latest"):
        return 1
    if args.given("last") and args.value("last") != "-1":
        from sampan.doors.cli.runvalues import parse_count

        return parse_count("last", args.value("last"))
    return None


def _size(entry: Entry) -> str:
    """`12kB (virtual 3MB)`: what the container itself wrote, and that with its image."""
    from sampan.core.units import show_size
    from sampan.linux.diskusage import bytes_in

    own = bytes_in(f"{entry.folder}/upper")
    image = bytes_in(entry.container.lower) if entry.container.lower else 0
    return f"{show_size(own)} (virtual {show_size(own + image)})"


COMMAND = Command(
    "ps",
    "[OPTIONS]",
    listing.SUMMARIES["ps"],
    run,
    [
        switch("all", "Show all containers, not only the running ones", "a"),
        filter_option(FILTERS),
        FORMAT,
        setting("last", "N", "Show the N newest containers, running or not", "n"),
        switch("latest", "Show the newest container, running or not", "l"),
        NO_TRUNC,
        QUIET,
        switch("size", "Show what containers take of the disk", "s"),
    ],
    most=0,
    examples=[
        "sampan ps -a",
        "sampan ps -aq -f status=exited",
        "sampan ps --format '{{.Names}}: {{.Status}}'",
    ],
)
