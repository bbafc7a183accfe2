"""`sampan start`: starts containers that are there, in the background or with this terminal attached."""

from __future__ import annotations

from sampan.container import starting, stdio
from sampan.container.store import Containers
from sampan.core.commandline import Command, Option, setting, switch
from sampan.core.errors import Invalid
from sampan.doors.cli import listing
from sampan.doors.cli.context import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    if args.on("attach") or args.on("interactive"):
        if len(args.operands) > 1:
            raise Invalid(
                "only one container can be started attached", fix="start the others without -a and -i"
            )
        return _start_attached(context, args)
    containers = Containers(context.roots)

    def start(name: str) -> None:
        entry = containers.find(name)
        if not entry.is_alive():
            starting.start(entry, context.roots)
        print(name, flush=True)

    return each(args.operands, start)


def _start_attached(context: Context, args: Arguments) -> int:
    from sampan.doors.cli import session
    from sampan.doors.cli.runvalues import parse_detach_keys

    wishes = session.Wishes(
        stdin=args.on("interactive"),
        detach_keys=list(parse_detach_keys(args.value("detach-keys"))),
        sig_proxy=args.on("sig-proxy"),
    )
    entry = Containers(context.roots).find(args.operands[0])
    if not entry.is_alive():
        starting.start(entry, context.roots, stdio.ATTACHED)
    session.flush()
    code = session.Session(entry, context.roots, wishes).run()
    return 0 if code is None else code


COMMAND = Command(
    "start",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    listing.SUMMARIES["start"],
    run,
    [
        switch("attach", "Show its output, pass signals on, and end with its exit code", "a"),
        setting("detach-keys", "KEYS", "The keys that detach from a container", default="ctrl-p,ctrl-q"),
        switch("interactive", "Pass standard input on", "i"),
        Option("sig-proxy", "Pass signals on to the workload", default="true"),
    ],
    operands="container",
    least=1,
    examples=["sampan start web worker", "sampan start -ai shell"],
)
