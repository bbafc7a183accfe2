"""`sampan stats`: what running containers use, once or again and again."""

from __future__ import annotations

import os
import sys
import time

from sampan.container.store import Containers
from sampan.core.units import show_size
from sampan.doors.cli import listing
from sampan.doors.cli.options import Command, switch
from sampan.doors.cli.output import FORMAT, NO_TRUNC, SHORT_ID, Column, show
from sampan.doors.cli.processes import usage_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.container.store import Entry
    from sampan.doors.cli.context import Context
    from sampan.doors.cli.options import Arguments

NOT_COUNTED = "--"
INTERVAL = 1.0
FIRST_INTERVAL = 0.1
COLUMNS = [
    Column("ID", "CONTAINER ID"),
    Column("Name", "NAME"),
    Column("CPUPerc", "CPU %"),
    Column("MemUsage", "MEM USAGE / LIMIT"),
    Column("MemPerc", "MEM %"),
    Column("NetIO", "NET I/O"),
    Column("BlockIO", "BLOCK I/O"),
    Column("PIDs", "PIDS"),
]


def run(context: Context, args: Arguments) -> int:
    before: dict[str, tuple[int, int]] = {}
    _measure(context, args, before)
    time.sleep(FIRST_INTERVAL)
    redraw = os.isatty(1) and not args.value("format")
    while True:
        rows = _measure(context, args, before)
        if redraw and not args.on("no-stream"):
            print("\x1b[2J\x1b[H", end="")
        show(rows, COLUMNS, args.value("format"))
        sys.stdout.flush()
        if args.on("no-stream"):
            return 0
        time.sleep(INTERVAL)


def _measure(context: Context, args: Arguments, before: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """One row a container; `before` has the last time and CPU time of each, in ns, and is brought up to date."""
    rows = []
    for entry in _chosen(context, args):
        now, usage = time.monotonic_ns(), usage_of(entry)
        then, cpu = before.get(entry.container.id, (now, usage.cpu_ns))
        before[entry.container.id] = now, usage.cpu_ns
        used = max(0, usage.memory - usage.memory_inactive)
        limit = usage.memory_limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        container_id = entry.container.id
        rows.append(
            {
                "ID": container_id if args.on("no-trunc") else container_id[:SHORT_ID],
                "Container": container_id,
                "Name": entry.container.name,
                "CPUPerc": f"{100 * (usage.cpu_ns - cpu) / max(1, now - then):.2f}%",
                "MemUsage": f"{show_size(used, binary=True)} / {show_size(limit, binary=True)}",
                "MemPerc": f"{100 * used / limit:.2f}%",
                "NetIO": NOT_COUNTED,
                "BlockIO": NOT_COUNTED,
                "PIDs": str(usage.pids),
            }
        )
    return rows


def _chosen(context: Context, args: Arguments) -> list[Entry]:
    containers = Containers(context.roots)
    if not args.operands:
        return [e for e in containers.all() if args.on("all") or e.is_alive()]
    return [containers.find(name) for name in args.operands]


COMMAND = Command(
    "stats",
    "[OPTIONS] [CONTAINER...]",
    listing.SUMMARIES["stats"],
    run,
    [
        switch("all", "Show all containers, not only the running ones", "a"),
        FORMAT,
        switch("no-stream", "Print once and exit"),
        NO_TRUNC,
    ],
    operands="container",
    examples=["sampan stats --no-stream", "sampan stats --format '{{.Name}} {{.MemUsage}}' web"],
)
