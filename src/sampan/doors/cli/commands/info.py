"""`sampan info`: what this machine and this user can have, and where things are kept."""

from __future__ import annotations

import os

from sampan.core.commandline import Command
from sampan.doors.cli import listing
from sampan.doors.cli.output import FORMAT, show, yes_no

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan import __version__
    from sampan.container.store import RUNNING, Containers
    from sampan.image.store import ContentStore
    from sampan.linux import cgroups, landlock, namespaces, seccomp

    entries = Containers(context.roots).all()
    running = sum(entry.status() == RUNNING for entry in entries)
    system = os.uname()
    facts = {
        "Version": __version__,
        "Root": context.roots.data,
        "RunRoot": context.roots.run,
        "Containers": len(entries),
        "Running": running,
        "Stopped": len(entries) - running,
        "Images": len(ContentStore(context.roots.images).names()),
        "Kernel": system.release,
        "Architecture": system.machine,
        "CPUs": len(os.sched_getaffinity(0)),
        "Root user": yes_no(os.geteuid() == 0),
        "Cgroups": cgroups.hierarchy() or "none",
        "Landlock": landlock.abi(),
        "Seccomp": yes_no(seccomp.is_available()),
        "User namespaces": yes_no(namespaces.can_unshare_user()),
    }
    if style := args.value("format"):
        show([{name.replace(" ", ""): value for name, value in facts.items()}], [], style)
        return 0
    for name, value in facts.items():
        print(f"{name}: {value}")
    return 0


COMMAND = Command(
    "info",
    "[OPTIONS]",
    listing.SUMMARIES["info"],
    run,
    [FORMAT.replace(short="f")],
    most=0,
    examples=["sampan info", "sampan info --format '{{.Cgroups}}'"],
)
