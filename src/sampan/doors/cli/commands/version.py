"""`sampan version`: what this is made of."""

from __future__ import annotations

import os
import sys

from sampan.core.commandline import Command
from sampan.doors.cli import listing
from sampan.doors.cli.output import FORMAT, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from importlib.metadata import PackageNotFoundError, version

    from sampan import __version__

    try:
        engine = version("wasmtime")
    except PackageNotFoundError:
        engine = "not found"
    facts = {
        "Version": __version__,
        "Engine": f"wasmtime {engine}",
        "Python": sys.version.split()[0],
        "Os": os.uname().sysname.lower(),
        "Arch": os.uname().machine,
        "Kernel": os.uname().release,
    }
    if style := args.value("format"):
        show([facts], [], style)
        return 0
    print("Sampan:")
    for name in ("Version", "Engine", "Python"):
        print(f" {name + ':':<10}{facts[name]}")
    print(f" {'OS/Arch:':<10}{facts['Os']}/{facts['Arch']}")
    return 0


COMMAND = Command(
    "version",
    "[OPTIONS]",
    listing.SUMMARIES["version"],
    run,
    [FORMAT.replace(short="f")],
    most=0,
    examples=["sampan version", "sampan version --format '{{.Version}}'"],
)
