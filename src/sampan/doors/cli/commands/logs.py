"""`sampan logs`: what a container wrote, each stream to its own."""

from __future__ import annotations

import os

from sampan.container.logs import STDERR, STDOUT, read_log
from sampan.container.store import RUNNING, Containers
from sampan.core.commandline import Command, setting, switch
from sampan.core.units import rfc3339
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sampan.container.logs import LogLine
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.moments import parse_moment

    entry = Containers(context.roots).find(args.operands[0])
    since = parse_moment(args.value("since"), "since") if args.given("since") else 0
    until = parse_moment(args.value("until"), "until") if args.given("until") else 0
    follow = (lambda: _goes_on(entry)) if args.on("follow") else None
    lines = read_log(
        entry.folder,
        path=entry.container.log_path,
        since=since,
        until=until,
        tail=_tail(args.value("tail")),
        follow=follow,
    )
    _print(lines, timestamps=args.on("timestamps"))
    return 0


def _tail(text: str) -> int | None:
    from sampan.doors.cli.runvalues import parse_count

    return None if text == "all" else parse_count("tail", text)


def _goes_on(entry: Entry) -> bool:
    """Whether there may be more: it runs, or its restart policy is about to start it again."""
    from sampan.doors.cli.containerrows import is_due

    if not os.path.isdir(entry.folder):
        return False
    state = entry.state()
    return state.status == RUNNING or is_due(entry, state)


def _print(lines: Iterable[LogLine], *, timestamps: bool) -> None:
    """Writes each piece to its stream; a time stands at the beginning of a line only."""
    goes_on = {STDOUT: False, STDERR: False}
    for line in lines:
        if timestamps and not goes_on[line.stream]:
            _write(line.stream, f"{rfc3339(line.time)} ".encode() + line.content)
        else:
            _write(line.stream, line.content)
        goes_on[line.stream] = not line.content.endswith(b"\n")


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


COMMAND = Command(
    "logs",
    "[OPTIONS] CONTAINER",
    listing.SUMMARIES["logs"],
    run,
    [
        switch("details", "Accepted", no_effect="Sampan's logs have no details beyond the time"),
        switch("follow", "Go on with what it writes, until it ends", "f"),
        setting(
            "since", "TIME", "Not what is older: 2026-11-21T03:45:00Z, Unix seconds, or 10m for that long ago"
        ),
        setting("tail", "N", "Only the last N lines", "n", default="all"),
        switch("timestamps", "Show when each line was written", "t"),
        setting("until", "TIME", "Not what is newer; as --since"),
    ],
    operands="container",
    least=1,
    most=1,
    examples=["sampan logs -f web", "sampan logs --since 10m -t web", "sampan logs -n 20 web"],
)
