"""`sampan-oci run`: create and start; in the foreground also wait and delete."""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.doors.oci import creation
from sampan.doors.oci.listing import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context

OPTIONS = [
    *creation.OPTIONS,
    switch("detach", "Leave the container running and return", "d"),
    switch("keep", "Do not delete the container when it has ended"),
    switch("no-subreaper", "Accepted for runc's callers", no_effect="only its own container is reaped"),
]


def run(context: Context, arguments: Arguments) -> int:
    from sampan.container import lifecycle
    from sampan.doors.oci.foreground import Foreground

    if arguments.on("detach"):
        from sampan.doors.oci import glance

        entry = creation.create(context, arguments)
        try:
            lifecycle.begin(entry)
        except BaseException:
            lifecycle.abandon(entry, context.states)
            raise
        glance.write(entry)
        return 0
    with Foreground(terminal=not arguments.value("console-socket")) as foreground:
        entry = creation.create(context, arguments, console_fd=foreground.console_fd)
        try:
            lifecycle.begin(entry)
            code = foreground.wait(entry)
        except BaseException:
            lifecycle.abandon(entry, context.states)
            raise
    if not arguments.on("keep"):
        lifecycle.delete(entry, context.states, force=True)
    return code


COMMAND = Command(
    "run",
    "ID",
    COMMANDS["run"],
    run,
    OPTIONS,
    ["sampan-oci run hello                # the bundle in this folder", "sampan-oci run -d -b bundle server"],
    least=1,
    most=1,
    program="sampan-oci",
)
