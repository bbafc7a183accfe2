"""`sampan attach`: this terminal or pipe at a running container."""

from __future__ import annotations

from sampan.container.logs import has_log
from sampan.container.store import Containers
from sampan.core.commandline import Command, Option, setting, switch
from sampan.core.errors import Precondition
from sampan.doors.cli import listing, session
from sampan.doors.cli.runvalues import parse_detach_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    keys = parse_detach_keys(args.value("detach-keys"))
    entry = Containers(context.roots).find(args.operands[0])
    _check_attachable(entry)
    wishes = session.Wishes(
        stdin=entry.container.keep_stdin and not args.on("no-stdin"),
        detach_keys=list(keys),
        sig_proxy=args.on("sig-proxy"),
    )
    code = session.Session(entry, context.roots, wishes).run()
    if code is None:
        context.tell("detached; it goes on running")
    return code or 0


def _check_attachable(entry: Entry) -> None:
    name = entry.container.name
    if not entry.is_alive():
        raise Precondition(f"container {name} is not running", fix=f"start it first: sampan start {name}")
    if not has_log(entry):
        raise Precondition(
            f"container {name} writes straight to the terminal or pipe of the command that runs it",
            fix="start it with -d to attach to it",
        )


COMMAND = Command(
    "attach",
    "[OPTIONS] CONTAINER",
    listing.SUMMARIES["attach"],
    run,
    [
        setting("detach-keys", "KEYS", "The keys that detach from a container", default="ctrl-p,ctrl-q"),
        switch("no-stdin", "Do not pass standard input on"),
        Option("sig-proxy", "Pass signals on to the workload", default="true"),
    ],
    operands="container",
    least=1,
    most=1,
    examples=["sampan attach web", "sampan attach --no-stdin --sig-proxy=false web"],
    notes="The keys to detach are heard where the container has a terminal (run -it) and input goes to it.",
)
