"""`sampan images`: the images of the store."""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.doors.cli import listing
from sampan.doors.cli.output import (
    FORMAT,
    NO_TRUNC,
    QUIET,
    Column,
    filter_option,
    has_labels,
    parse_filters,
    show,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context
    from sampan.image.images import Image
    from sampan.image.store import ContentStore

FILTERS = ("before", "dangling", "label", "reference", "since")
COLUMNS = [
    Column("Repository", "REPOSITORY"),
    Column("Tag", "TAG"),
    Column("Digest", "DIGEST", shown=False),
    Column("ID", "IMAGE ID"),
    Column("CreatedSince", "CREATED"),
    Column("Size", "SIZE"),
    Column("CreatedAt", "CREATED AT", shown=False),
    Column("Format", "FORMAT", shown=False),
    Column("Platform", "PLATFORM", shown=False),
]


def run(context: Context, args: Arguments) -> int:
    from sampan.container.store import Containers
    from sampan.doors.cli import imagerows
    from sampan.image.store import ContentStore

    images = _chosen(ContentStore(context.roots.images), args)
    images.sort(key=lambda image: (-imagerows.created(image), image.name))
    if args.on("quiet"):
        ids = [i.id if args.on("no-trunc") else i.id.partition(":")[2][:12] for i in images]
        print("".join(f"{image_id}\n" for image_id in dict.fromkeys(ids)), end="")
        return 0
    used = [entry.container.image_id for entry in Containers(context.roots).all()]
    rows = [
        imagerows.row(image, full_id=args.on("no-trunc"), containers=used.count(image.id)) for image in images
    ]
    columns = [c.replace(shown=True) if c.field == "Digest" and args.on("digests") else c for c in COLUMNS]
    show(rows, columns, args.value("format"))
    return 0


def _chosen(store: ContentStore, args: Arguments) -> list[Image]:
    """The images that the operands and filters ask for."""
    from sampan.doors.cli.imagerows import created
    from sampan.image.images import find_image, list_images

    filters = parse_filters(args.values("filter"), FILTERS)
    if "true" in filters.get("dangling", []):  # every image here has a name
        return []
    images = list_images(store)
    patterns = filters.get("reference", []) + args.operands
    if patterns:
        images = [i for i in images if any(_matches(i.name, pattern) for pattern in patterns)]
    images = [i for i in images if has_labels(i.container_config.labels, filters.get("label", []))]
    for key, sign in (("before", -1), ("since", 1)):
        for text in filters.get(key, []):
            border = created(find_image(store, text))
            images = [i for i in images if (created(i) - border) * sign > 0]
    return images


def _matches(name: str, pattern: str) -> bool:
    """Whether an image is one that a person means by `repository`, `repository:tag` or a pattern of these."""
    from fnmatch import fnmatchcase

    from sampan.doors.cli.imagerows import split_name

    repository, tag = split_name(name)
    return any(fnmatchcase(text, pattern) for text in (repository, f"{repository}:{tag}", name))


COMMAND = Command(
    "images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    listing.SUMMARIES["images"],
    run,
    [
        switch("all", "Show all images (there are no hidden ones)", "a"),
        switch("digests", "Show digests"),
        QUIET,
        NO_TRUNC,
        FORMAT,
        filter_option(FILTERS),
    ],
    operands="image",
    most=1,
    examples=["sampan images --digests", "sampan images --format '{{.Repository}}:{{.Tag}} {{.Format}}'"],
)
