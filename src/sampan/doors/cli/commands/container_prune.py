"""`sampan container prune`: removes the containers that do not run."""

from __future__ import annotations

from sampan.core.units import show_size
from sampan.doors.cli import listing
from sampan.doors.cli.options import Command, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.cli.context import Context
    from sampan.doors.cli.options import Arguments


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.asking import confirm

    if not args.on("force") and not confirm("This will remove all stopped containers."):
        return 0
    print(f"Total reclaimed space: {show_size(prune(context))}")
    return 0


def prune(context: Context) -> int:
    """Removes all stopped containers and what killed commands left; prints their ids; bytes freed.

    Raises:
        SampanError: one cannot be removed.
    """
    import os

    from sampan.container import lifecycle
    from sampan.container.store import RUNNING, Containers
    from sampan.core.errors import Precondition
    from sampan.doors.cli.usage import disk_usage

    containers = Containers(context.roots)
    freed = 0
    for entry in containers.all():
        if entry.status() == RUNNING:
            continue
        size = disk_usage(entry.folder)
        try:
            lifecycle.remove(entry, context.roots)
        except Precondition:  # started in between
            continue
        freed += size
        print(entry.container.id)
    if os.path.isdir(containers.folder):
        containers.sweep()
    return freed


COMMAND = Command(
    "container prune",
    "[OPTIONS]",
    listing.SUMMARIES["container prune"],
    run,
    [switch("force", "Do not ask", "f")],
    most=0,
    examples=["sampan container prune -f"],
)
