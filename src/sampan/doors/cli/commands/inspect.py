"""`sampan inspect`: everything about containers, and about images where no container has the name."""

from __future__ import annotations

from sampan.container.store import Containers
from sampan.core.commandline import Command, setting, switch
from sampan.core.errors import NotFound, SampanError
from sampan.doors.cli import listing
from sampan.doors.cli.context import each
from sampan.doors.cli.output import FORMAT, show_documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

KINDS = ("container", "image")


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.runvalues import one_of

    kind = one_of("type", args.value("type"), KINDS) if args.given("type") else ""
    found: list[Any] = []
    code = each(
        args.operands, lambda name: found.append(_inspect(context, name, kind, sized=args.on("size")))
    )
    show_documents(found, args.value("format"))
    return code


def _inspect(context: Context, name: str, kind: str, *, sized: bool) -> dict[str, Any]:
    """Docker's document on what is called `name`; a container comes before an image.

    Raises:
        NotFound: there is nothing of this name. SampanError: it cannot be read.
    """
    if kind == "image":
        return _image(context, name)
    try:
        return _container(context, name, sized=sized)
    except NotFound:
        if kind:
            raise
    try:
        return _image(context, name)
    except SampanError as error:  # what is no image's name is not there either
        raise NotFound(f"there is no container and no image {name[:80]}") from error


def _container(context: Context, name: str, *, sized: bool) -> dict[str, Any]:
    from sampan.doors.cli.containerdocs import document

    return document(context, Containers(context.roots).find(name), sized=sized)


def _image(context: Context, name: str) -> dict[str, Any]:
    from sampan.doors.cli.commands.image_inspect import inspect

    return inspect(context, name)


COMMAND = Command(
    "inspect",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    listing.SUMMARIES["inspect"],
    run,
    [
        FORMAT.replace(short="f"),
        switch("size", "With what containers take of the disk", "s"),
        setting("type", "TYPE", "Only containers, or only images", complete="|".join(KINDS)),
    ],
    operands="container or image",
    least=1,
    examples=["sampan inspect web", "sampan inspect -f '{{.State.Status}} {{.State.ExitCode}}' web"],
)
