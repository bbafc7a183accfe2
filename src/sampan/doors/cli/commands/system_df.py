"""`sampan system df`: what takes how much of the disk."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.core.units import show_size
from sampan.doors.cli import listing
from sampan.doors.cli.output import FORMAT, Column, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

COLUMNS = [
    Column("Type", "TYPE"),
    Column("TotalCount", "TOTAL"),
    Column("Active", "ACTIVE"),
    Column("Size", "SIZE"),
    Column("Reclaimable", "RECLAIMABLE"),
]


def run(context: Context, args: Arguments) -> int:
    rows = [
        _images(context),
        _containers(context),
        _folders("Local Volumes", f"{context.roots.data}/volumes"),
        _folders("Unpacked Images", f"{context.roots.images}/snapshots"),
        _folders("Compiled Code", context.roots.code),
    ]
    show(rows, COLUMNS, args.value("format"))
    return 0


def _images(context: Context) -> dict[str, Any]:
    from sampan.container.store import Containers
    from sampan.image.images import list_images
    from sampan.image.store import ContentStore

    images = {image.id: image for image in list_images(ContentStore(context.roots.images))}
    used = {entry.container.image_id for entry in Containers(context.roots).all()} & set(images)
    size = sum({d.digest: d.size for i in images.values() for d in _parts(i)}.values())
    needed = sum({d.digest: d.size for i in used for d in _parts(images[i])}.values())
    return _row("Images", len(images), len(used), size, size - needed)


def _parts(image: Any) -> list[Any]:
    return [image.descriptor, image.manifest.config, *image.manifest.layers]


def _containers(context: Context) -> dict[str, Any]:
    from sampan.container.store import RUNNING, Containers
    from sampan.linux.diskusage import bytes_in

    sizes = [(e.status() == RUNNING, bytes_in(e.folder)) for e in Containers(context.roots).all()]
    running = [size for is_running, size in sizes if is_running]
    size = sum(size for _, size in sizes)
    return _row("Containers", len(sizes), len(running), size, size - sum(running))


def _folders(kind: str, folder: str) -> dict[str, Any]:
    """What is kept as one file or folder each, and in use as far as can be told."""
    import os

    from sampan.linux.diskusage import bytes_in

    names = os.listdir(folder) if os.path.isdir(folder) else []
    count = sum(not name.startswith(".") and name != "lock" for name in names)
    return _row(kind, count, count, bytes_in(folder) if names else 0, 0)


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": show_size(size),
        "Reclaimable": show_size(reclaimable) + share,
    }


COMMAND = Command(
    "system df",
    "[OPTIONS]",
    listing.SUMMARIES["system df"],
    run,
    [FORMAT],
    most=0,
    examples=["sampan system df", "sampan system df --format json"],
)
