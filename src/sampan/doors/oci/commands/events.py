"""`sampan-oci events`: what a container uses, at once or again and again, and each time when memory ran out."""

from __future__ import annotations

import os
import sys
import time

from sampan.core import strictjson
from sampan.core.commandline import Command, UsageError, setting, switch
from sampan.core.errors import Precondition
from sampan.core.units import parse_duration
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context
    from sampan.linux.cgroups import Cgroup

LOOK_SECONDS = 0.2


def run(context: Context, arguments: Arguments) -> int:
    interval = parse_duration(arguments.value("interval"))
    if interval <= 0:
        raise UsageError("the interval must be greater than 0")
    from sampan.container.status import cgroup_of

    entry = find(context, arguments.operands[0])
    if not entry.is_alive():
        raise Precondition(f"container {entry.container.id} is not running")
    cgroup = cgroup_of(entry.container, entry.spec)
    if arguments.on("stats"):
        _print(entry, "stats", cgroup.detailed_stats())
    else:
        _follow(entry, cgroup, interval)
    return 0


def _follow(entry: Entry, cgroup: Cgroup, interval: float) -> None:
    """Prints events until the container has stopped."""
    from sampan.linux import processes

    run = entry.running
    assert run is not None  # it is alive
    pidfd = processes.open_pidfd(run.pid)
    try:
        kills = cgroup.oom_kills()
        due = time.monotonic() + interval
        ended = False
        while not ended:
            left = due - time.monotonic()
            ended = processes.wait_ended(pidfd, max(0.0, min(left, LOOK_SECONDS)))
            before, kills = kills, cgroup.oom_kills()
            if kills > before:
                _print(entry, "oom", None)
            if not ended and time.monotonic() >= due:
                _print(entry, "stats", cgroup.detailed_stats())
                due += interval
    finally:
        os.close(pidfd)


def _print(entry: Entry, kind: str, data: dict[str, Any] | None) -> None:
    event: dict[str, Any] = {"type": kind, "id": entry.container.id}
    if data is not None:
        event["data"] = data
    print(strictjson.dumps(event).decode())
    sys.stdout.flush()


COMMAND = Command(
    "events",
    "ID",
    COMMANDS["events"],
    run,
    [
        setting("interval", "DURATION", "Time between two lines of stats", default="5s"),
        switch("stats", "Print what it uses now, and exit"),
    ],
    least=1,
    most=1,
    program="sampan-oci",
)
