"""`sampan-oci ps`: the lines of ps(1) for the processes of one container, or their pids."""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.commandline import Command, UsageError, setting
from sampan.core.errors import Invalid, Precondition, Unavailable, Unimplemented
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context

FULL = ["-ef"]


def run(context: Context, arguments: Arguments) -> int:
    form = arguments.value("format")
    if form not in ("table", "json"):
        raise UsageError(f"the format {form[:40]!r} is neither table nor json")
    container_id, *options = arguments.operands
    pids = _processes(find(context, container_id))
    if form == "json":
        print(strictjson.dumps(pids or None).decode())
    else:
        print("\n".join(lines_of(_ps(context, options or FULL), pids)))
    return 0


def _processes(entry: Entry) -> list[int]:
    """The pids of the container, as this process sees them."""
    from sampan.container import status

    state = status.oci_state(entry)
    if not state.pid:
        return []
    return status.cgroup_of(entry.container, entry.spec).pids() or [state.pid]


def _ps(context: Context, options: list[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(
            ["ps", *options],
            env=dict(context.env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unimplemented("there is no ps on this host", fix="ps --format json needs none") from error
    except (OSError, ValueError) as error:
        raise Unavailable(f"ps cannot be run: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().partition("\n")[0]
        raise Precondition(f"ps {' '.join(options)[:80]} failed: {said or done.returncode}")
    return done.stdout.decode(errors="replace")


def lines_of(output: str, pids: Collection[int]) -> list[str]:
    """The title line that ps printed and the lines of these processes.

    Raises:
        Invalid: there is no column of pids.
    """
    title, *lines = output.splitlines() or [""]
    try:
        column = title.split().index("PID")
    except ValueError:
        raise Invalid("these options of ps show no PID, so it cannot be told whose lines they are") from None
    wanted = {str(pid) for pid in pids}
    return [
        title,
        *(line for line in lines if line.split()[column : column + 1] and line.split()[column] in wanted),
    ]


COMMAND = Command(
    "ps",
    "ID [OPTION OF PS...]",
    COMMANDS["ps"],
    run,
    [setting("format", "table|json", "How to print it", "f", default="table")],
    ["sampan-oci ps web -o pid,rss,args"],
    least=1,
    interspersed=False,
    program="sampan-oci",
)
