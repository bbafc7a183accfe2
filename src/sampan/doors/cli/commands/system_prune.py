"""`sampan system prune`: stopped containers, then images that nothing needs."""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.core.units import show_size
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.asking import confirm
    from sampan.doors.cli.commands import container_prune, image_prune

    everything = args.on("all")
    images = "all images without a container" if everything else "content that no image's name leads to"
    if not args.on("force") and not confirm(f"This will remove all stopped containers and {images}."):
        return 0
    freed = container_prune.prune(context) + image_prune.prune(context, everything=everything)
    print(f"Total reclaimed space: {show_size(freed)}")
    return 0


COMMAND = Command(
    "system prune",
    "[OPTIONS]",
    listing.SUMMARIES["system prune"],
    run,
    [
        switch("all", "Remove every image that no container uses", "a"),
        switch("force", "Do not ask", "f"),
    ],
    most=0,
    examples=["sampan system prune -af"],
)
