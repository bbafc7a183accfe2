"""`sampan rm`: forgets containers, with their files and logs; with -f also those that run or are broken."""

from __future__ import annotations

from sampan.container import ending
from sampan.container.store import Containers
from sampan.core.commandline import Command, switch
from sampan.core.errors import DataLoss, NotFound, SampanError
from sampan.doors.cli import listing
from sampan.doors.cli.context import complain, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    containers = Containers(context.roots)

    def remove(name: str) -> None:
        try:
            ending.remove(containers.find(name), context.roots)
        except DataLoss as error:
            error.fix = f"remove it with its broken state: sampan rm -f {name}"
            raise
        print(name)

    def remove_by_force(name: str) -> None:
        try:
            _remove_anything(context, containers, name)
        except NotFound as error:  # what is to be gone is gone
            complain(error)
        else:
            print(name)

    return each(args.operands, remove_by_force if args.on("force") else remove)


def _remove_anything(context: Context, containers: Containers, name: str) -> None:
    """Removes a container in whatever state it is.

    Raises:
        NotFound: there is none.
    """
    container_id = ""
    try:
        entry = containers.find(name)
        container_id = entry.container.id
        ending.remove(entry, context.roots, force=True)
    except SampanError as error:
        if not isinstance(error, DataLoss | NotFound):
            raise
        ending.remove_broken(container_id or containers.find_id(name), context.roots)


COMMAND = Command(
    "rm",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    listing.SUMMARIES["rm"],
    run,
    [
        switch("force", "Remove it even if it runs, or if its state cannot be read", "f"),
        switch("volumes", "Remove its volumes of no name (they always go with it)", "v"),
    ],
    operands="container",
    least=1,
    examples=["sampan rm web", "sampan rm -f web worker", "sampan rm $(sampan ps -aq -f status=exited)"],
)
