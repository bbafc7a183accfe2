"""`sampan cp`: files between a container, running or not, and the host."""

from __future__ import annotations

import os
import sys
from itertools import chain

from sampan.container.inside import with_files
from sampan.container.store import Containers
from sampan.core.commandline import Command, switch
from sampan.core.errors import Denied, Invalid, Precondition
from sampan.core.units import show_size
from sampan.doors.cli import listing
from sampan.doors.cli.copying import Copy, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

STREAM = "-"


def run(context: Context, args: Arguments) -> int:
    (source_name, source), (target_name, target) = (_split(text) for text in args.operands)
    if bool(source_name) == bool(target_name):
        raise Invalid(
            "one side must be a container, as in NAME:PATH, and the other the host",
            fix="copy between containers with 'sampan cp A:PATH - | sampan cp - B:PATH'",
        )
    if args.on("archive") and os.geteuid() != 0:
        raise Denied("-a cannot be had: a plain user cannot give files to others", fix="leave -a out")
    entry = Containers(context.roots).find(source_name or target_name)
    _check_has_files(entry)
    if source_name:
        _copy_out(context, args, entry, source, target)
    else:
        _copy_in(context, args, entry, source, target)
    return 0


def _split(text: str) -> tuple[str, str]:
    """Container and path of `NAME:PATH`; no container for a path of the host, which may begin with `/` or `.`."""
    name, colon, path = text.partition(":")
    if not colon or not name or text.startswith(("/", ".")):
        if not text:
            raise Invalid("a path to copy is empty")
        return "", text
    if not path:
        raise Invalid(f"{text[:80]!r} names no path in the container", fix="write it like NAME:/PATH")
    return name, path


def _check_has_files(entry: Entry) -> None:
    container = entry.container
    if container.module:
        raise Precondition(
            f"container {container.name} runs a plain file, so it has no root filesystem of its own",
            fix="copy to or from the folders of the host that it was given",
        )


def _copy_out(context: Context, args: Arguments, entry: Entry, source: str, target: str) -> None:
    if target == STREAM:
        if sys.stdout.isatty():
            raise Precondition("an archive is not written to a terminal", fix="name a folder, or redirect it")
        copy = Copy(None, follow=args.on("follow-link"), warn=context.warn)
        with_files(entry, lambda root: copy.to_stream(Place(root, source)), writes=False)
        return
    place = _host_place(target)

    def work(root: int) -> None:  # in the container's namespaces this user has another number
        owner = None if args.on("archive") else (os.geteuid(), os.getegid())
        copy = Copy(owner, follow=args.on("follow-link"), warn=context.warn)
        copy.files(Place(root, source), place)
        _tell(context, args, copy, place.path)

    with_files(entry, work, writes=False)


def _copy_in(context: Context, args: Arguments, entry: Entry, source: str, target: str) -> None:
    copy = Copy(None if args.on("archive") else (0, 0), follow=args.on("follow-link"), warn=context.warn)
    shown = f"{entry.container.name}:{target}"
    if source == STREAM:
        from sampan.image.compression import decompressed

        if sys.stdin.isatty():
            raise Precondition("there is no archive on standard input", fix="pipe one in, or name a file")
        unpacked = decompressed(sys.stdin.buffer, "the archive")
        pieces = chain([next(unpacked, b"")], unpacked)  # the first one imports what unpacks the others

        def work(root: int) -> None:
            copy.from_stream(pieces, Place(root, target))
            _tell(context, args, copy, shown)
    else:
        place = _host_place(source)

        def work(root: int) -> None:
            copy.files(place, Place(root, target))
            _tell(context, args, copy, shown)

    with_files(entry, work, writes=True)


def _host_place(path: str) -> Place:
    """A path of the host, made absolute here: in the container's world there is no working directory of ours."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return Place(root, path if path.startswith("/") else f"{os.getcwd()}/{path}")


def _tell(context: Context, args: Arguments, copy: Copy, where: str) -> None:
    if not args.on("quiet") and sys.stderr.isatty():
        context.tell(f"Successfully copied {show_size(copy.bytes)} to {where}")


COMMAND = Command(
    "cp",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- or SRC_PATH|- CONTAINER:DEST_PATH",
    listing.SUMMARIES["cp"],
    run,
    [
        switch("archive", "Keep the user and group of everything", "a"),
        switch("follow-link", "Follow a link at the end of SRC_PATH", "L"),
        switch("quiet", "Do not say how much was copied", "q"),
    ],
    operands="container",
    least=2,
    most=2,
    examples=[
        "sampan cp web:/data ./data",
        "sampan cp settings.toml web:/etc/",
        "sampan cp web:/data - | tar t",
    ],
    notes="'-' is a tar stream on standard input or output. FOLDER/. is what is in the folder.",
)
