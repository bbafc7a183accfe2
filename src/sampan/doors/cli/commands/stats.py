"""`sampan stats`: what running containers use, once or again and again."""

from __future__ import annotations

import sys
import time

from sampan.container.store import Containers
from sampan.core.commandline import Command, switch
from sampan.core.errors import NotFound
from sampan.core.units import show_size
from sampan.doors.cli import listing
from sampan.doors.cli.metering import Usage, measure
from sampan.doors.cli.output import FORMAT, NO_TRUNC, SHORT_ID, Column, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

INTERVAL = 1.0
FIRST_INTERVAL = 0.25
UNKNOWN = "--"
CLEAR = "\033[H\033[J"
NOTHING = Usage(0, 0, 0, 0, 0)
COLUMNS = [
    Column("ID", "CONTAINER ID"),
    Column("Name", "NAME"),
    Column("CPUPerc", "CPU %"),
    Column("MemUsage", "MEM USAGE / LIMIT"),
    Column("MemPerc", "MEM %"),
    Column("NetIO", "NET I/O"),
    Column("BlockIO", "BLOCK I/O"),
    Column("PIDs", "PIDS"),
    Column("Container", "CONTAINER", shown=False),
]


def run(context: Context, args: Arguments) -> int:
    containers = Containers(context.roots)
    for name in args.operands:
        containers.find(name)
    redraws = sys.stdout.isatty() and not args.given("format")
    before: dict[str, Usage] = {}
    while True:
        chosen = _chosen(containers, args)
        if args.operands and not chosen:  # all that were asked for are removed
            return 0
        if not before:
            before = {entry.container.id: measure(entry) or NOTHING for _, entry in chosen}
            time.sleep(FIRST_INTERVAL)
        now = {entry.container.id: measure(entry) or NOTHING for _, entry in chosen}
        rows = [_row(name, entry, before, now, args) for name, entry in chosen]
        if redraws and not args.on("no-stream"):
            print(CLEAR, end="")
        show(rows, COLUMNS, args.value("format"))
        sys.stdout.flush()
        if args.on("no-stream"):
            return 0
        before = now
        time.sleep(INTERVAL)


def _chosen(containers: Containers, args: Arguments) -> list[tuple[str, Entry]]:
    """The containers that are meant and still there, each as it was named."""
    if not args.operands:
        entries = [entry for entry in containers.all() if args.on("all") or entry.is_alive()]
        return [(entry.container.id, entry) for entry in entries]
    found = []
    for name in args.operands:
        try:
            found.append((name, containers.find(name)))
        except NotFound:
            continue
    return found


def _row(
    name: str, entry: Entry, before: dict[str, Usage], now: dict[str, Usage], args: Arguments
) -> dict[str, Any]:
    container = entry.container
    usage = now[container.id]
    memory = f"{show_size(usage.memory, binary=True)} / {show_size(usage.memory_limit, binary=True)}"
    return {
        "Container": name if args.on("no-trunc") or name != container.id else name[:SHORT_ID],
        "ID": container.id if args.on("no-trunc") else container.id[:SHORT_ID],
        "Name": container.name,
        "CPUPerc": f"{_cpu_percent(before.get(container.id, NOTHING), usage):.2f}%",
        "MemUsage": memory,
        "MemPerc": f"{100 * usage.memory / usage.memory_limit if usage.memory_limit else 0:.2f}%",
        "NetIO": UNKNOWN,
        "BlockIO": UNKNOWN,
        "PIDs": str(usage.pids),
    }


def _cpu_percent(before: Usage, now: Usage) -> float:
    """100 for one CPU that is busy all the time; 0 where there is nothing to compare with."""
    if not before.at or not now.at or now.cpu < before.cpu:
        return 0.0
    return 100 * (now.cpu - before.cpu) / max(1, now.at - before.at)


COMMAND = Command(
    "stats",
    "[OPTIONS] [CONTAINER...]",
    listing.SUMMARIES["stats"],
    run,
    [
        switch("all", "Show all containers (default: those that run)", "a"),
        FORMAT,
        switch("no-stream", "Show it once"),
        NO_TRUNC,
    ],
    operands="container",
    examples=["sampan stats --no-stream", "sampan stats web worker"],
    notes="What goes over the network and to the disk is not counted: '--'.",
)
