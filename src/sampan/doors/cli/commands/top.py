"""`sampan top`: the processes of a container, as `ps -ef` shows them."""

from __future__ import annotations

import time

from sampan.container.store import Containers
from sampan.core.errors import Precondition, Unimplemented
from sampan.doors.cli import listing
from sampan.doors.cli.options import Command
from sampan.doors.cli.output import print_table
from sampan.doors.cli.processes import look, pids_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.cli.context import Context
    from sampan.doors.cli.options import Arguments
    from sampan.doors.cli.processes import ProcessLine

TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
ACCEPTED = ("-ef", "ef", "aux", "-aux")


def run(context: Context, args: Arguments) -> int:
    name, *options = args.operands
    wrong = [word for word in options if word not in ACCEPTED]
    if wrong:
        raise Unimplemented(
            f"top has one form, that of ps -ef; {wrong[0][:40]!r} cannot be had", fix="leave it out"
        )
    entry = Containers(context.roots).find(name)
    lines = [line for pid in pids_of(entry) if (line := look(pid)) is not None]
    if not lines:
        raise Precondition(f"container {entry.container.name} is not running")
    process = entry.spec.process
    command = " ".join(process.args) if process is not None else ""
    print_table(
        TITLES, [_row(line, command if number == 0 else "(exec)") for number, line in enumerate(lines)]
    )
    return 0


def _row(line: ProcessLine, command: str) -> list[str]:
    begun = time.time() - (_uptime() - line.begun)
    minutes, seconds = divmod(int(line.cpu), 60)
    share = int(100 * line.cpu / max(1.0, _uptime() - line.begun))
    used = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
    stime = time.strftime("%H:%M", time.localtime(begun))
    return [str(line.uid), str(line.pid), str(line.ppid), str(share), stime, "?", used, command]


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


COMMAND = Command(
    "top",
    "CONTAINER [PS OPTIONS]",
    listing.SUMMARIES["top"],
    run,
    operands="container",
    least=1,
    interspersed=False,
    examples=["sampan top web"],
)
