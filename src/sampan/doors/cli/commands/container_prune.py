"""`sampan container prune`: removes the containers that do not run."""

from __future__ import annotations

import os

from sampan.core.commandline import Command, switch
from sampan.core.units import show_size
from sampan.doors.cli import listing
from sampan.doors.cli.output import filter_option, has_labels, parse_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

FILTERS = ("label", "until")


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.asking import confirm

    filters = parse_filters(args.values("filter"), FILTERS)
    if not args.on("force") and not confirm("This will remove all stopped containers."):
        return 0
    print(f"Total reclaimed space: {show_size(prune(context, filters))}")
    return 0


def prune(context: Context, filters: dict[str, list[str]] | None = None) -> int:
    """Removes all stopped containers and what killed commands left; prints their ids; bytes freed.

    One that its restart policy is about to start again is not stopped; those of pods are a kubelet's to remove.

    Raises:
        SampanError: one cannot be removed.
    """
    from sampan.container import ending
    from sampan.container.store import CREATED, EXITED, Containers
    from sampan.core.errors import NotFound, Precondition
    from sampan.doors.cli.containerrows import state_of
    from sampan.linux.diskusage import bytes_in

    containers = Containers(context.roots)
    removed: list[str] = []
    freed = 0
    for entry in _fitting(containers.all(), filters or {}):
        if state_of(context, entry).status not in (CREATED, EXITED):
            continue
        size = bytes_in(entry.folder)
        try:
            ending.remove(entry, context.roots)
        except (NotFound, Precondition):  # removed or started in between
            continue
        freed += size
        removed.append(entry.container.id)
    if removed:
        print("\n".join(["Deleted Containers:", *removed]), end="\n\n")
    if os.path.isdir(containers.folder):
        containers.sweep()
    return freed


def _fitting(entries: list[Entry], filters: dict[str, list[str]]) -> list[Entry]:
    from sampan.doors.cli.moments import parse_moment

    border = min((parse_moment(text, "filter until") for text in filters.get("until", [])), default=None)
    return [
        entry
        for entry in entries
        if not entry.container.pod
        and has_labels(entry.container.labels, filters.get("label", []))
        and (border is None or entry.container.created < border)
    ]


COMMAND = Command(
    "container prune",
    "[OPTIONS]",
    listing.SUMMARIES["container prune"],
    run,
    [switch("force", "Do not ask", "f"), filter_option(FILTERS).replace(short="")],
    most=0,
    examples=["sampan container prune -f", "sampan container prune -f --filter until=24h"],
)
