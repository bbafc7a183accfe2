"""`sampan history`: how an image came to be."""

from __future__ import annotations

from sampan.core.commandline import Command, Option
from sampan.core.units import parse_rfc3339, show_size
from sampan.doors.cli import listing
from sampan.doors.cli.output import FORMAT, NO_TRUNC, QUIET, Column, shorten, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context
    from sampan.image.images import Image

COLUMNS = [
    Column("ID", "IMAGE"),
    Column("CreatedSince", "CREATED"),
    Column("CreatedBy", "CREATED BY"),
    Column("Size", "SIZE"),
    Column("Comment", "COMMENT"),
    Column("CreatedAt", "CREATED AT", shown=False),
]
MISSING = "<missing>"
WIDTH = 45


def run(context: Context, args: Arguments) -> int:
    from sampan.image.images import find_image
    from sampan.image.store import ContentStore

    image = find_image(ContentStore(context.roots.images), args.operands[0])
    rows = _rows(image, human=args.on("human"), whole=args.on("no-trunc"))
    if args.on("quiet"):
        for row in rows:
            print(row["ID"])
        return 0
    show(rows, COLUMNS, args.value("format"))
    return 0


def _rows(image: Image, *, human: bool, whole: bool) -> list[dict[str, Any]]:
    """Newest first; steps that made no layer have size 0."""
    from sampan.core.spec.image import History
    from sampan.doors.cli.imagerows import local_time, since

    layers = [layer.size for layer in image.manifest.layers]
    steps = list(image.config.history)
    if sum(not step.empty_layer for step in steps) != len(layers):  # an artifact, or a history that was cut
        steps = [History(image.config.created, layer.media_type) for layer in image.manifest.layers]
    rows = []
    for step in steps:
        size = 0 if step.empty_layer else layers.pop(0)
        when = parse_rfc3339(step.created) if step.created else 0
        rows.append(
            {
                "ID": MISSING,
                "CreatedSince": since(when) if human else step.created,
                "CreatedAt": local_time(when),
                "CreatedBy": step.created_by if whole else shorten(step.created_by, WIDTH),
                "Size": show_size(size) if human else str(size),
                "Comment": step.comment,
            }
        )
    rows.reverse()
    if rows:
        rows[0]["ID"] = image.id if whole else image.id.partition(":")[2][:12]
    return rows


COMMAND = Command(
    "history",
    "[OPTIONS] IMAGE",
    listing.SUMMARIES["history"],
    run,
    [FORMAT, NO_TRUNC, QUIET, Option("human", "Show sizes and times for people", "H", default="true")],
    operands="image",
    least=1,
    most=1,
    examples=["sampan history hello", "sampan history --no-trunc --format '{{.CreatedBy}}' hello"],
)
