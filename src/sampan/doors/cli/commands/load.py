"""`sampan load`: images from an archive, a layout folder or a `.wasm` file."""

from __future__ import annotations

import sys

from sampan.core.commandline import Command, Option, setting, switch
from sampan.core.errors import Precondition
from sampan.doors.cli import listing
from sampan.doors.cli.imagerows import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.container.events import publish
    from sampan.image.archives import load
    from sampan.image.store import ContentStore

    path = args.value("input")
    if not path and sys.stdin.isatty():
        raise Precondition("there is no archive on standard input", fix="name one with -i")
    for name in load(ContentStore(context.roots.images), path or sys.stdin.buffer):
        repository, tag = split_name(name)
        publish(context.roots, "image", "load", f"{repository}:{tag}", {"name": repository})
        print(f"Loaded image: {repository}:{tag}")
    return 0


COMMAND = Command(
    "load",
    "[OPTIONS]",
    listing.SUMMARIES["load"],
    run,
    [
        setting("input", "FILE", "Read a file or folder instead of standard input", "i", complete="file"),
        switch("quiet", "Show no progress (there is none)", "q"),
        Option("platform", value="PLATFORM", refusal="an archive is loaded whole"),
    ],
    most=0,
    examples=["sampan load -i hello.tar", "docker save app | sampan load"],
)
