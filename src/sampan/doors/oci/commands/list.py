"""`sampan-oci list`: our containers, and those that the runtime for Linux containers has below the same root."""

from __future__ import annotations

import os

from sampan.core import strictjson
from sampan.core.commandline import Command, UsageError, setting, switch
from sampan.core.errors import SampanError, Unavailable
from sampan.doors.oci.listing import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context

TITLES = {
    "id": "ID",
    "pid": "PID",
    "status": "STATUS",
    "bundle": "BUNDLE",
    "created": "CREATED",
    "owner": "OWNER",
}
LEAST_WIDTH, GAP = 12, 3
LIST_SECONDS = 60


def run(context: Context, arguments: Arguments) -> int:
    form = arguments.value("format")
    if form not in ("table", "json"):
        raise UsageError(f"the format {form[:40]!r} is neither table nor json")
    documents = sorted([*_ours(context), *_foreign(context)], key=lambda document: str(document["id"]))
    if arguments.on("quiet"):
        for document in documents:
            print(document["id"])
    elif form == "json":
        print(strictjson.dumps(documents or None).decode())
    else:
        rows = [list(TITLES.values())]
        rows += [[str(document.get(field, "")) for field in TITLES] for document in documents]
        print(table(rows))
    return 0


def _ours(context: Context) -> list[dict[str, Any]]:
    from sampan.doors.oci.documents import state_of

    documents = []
    for entry in context.states.all():
        try:
            documents.append(state_of(entry).replace(owner=_owner(entry.folder)).to_json())
        except (SampanError, FileNotFoundError):  # it is being deleted
            continue
    return documents


def _owner(folder: str) -> str:
    from pwd import getpwuid

    uid = os.stat(folder).st_uid
    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _foreign(context: Context) -> list[dict[str, Any]]:
    """What the runtime for Linux containers says; what it does not know is not in its list.

    Raises:
        SampanError: there is none, or it cannot say.
    """
    if not context.states.has_foreign():
        return []
    import subprocess

    from sampan.container.delegate import linux_runtime

    command = [linux_runtime(context.env), *context.globals, "list", "--format", "json"]
    try:
        done = subprocess.run(
            command,
            check=False,
            env=dict(context.env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIST_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} cannot list the Linux containers: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line), f"exit code {done.returncode}")
        raise Unavailable(f"{command[0]} cannot list the Linux containers: {last}")
    documents = strictjson.loads(done.stdout or b"null", what=f"the list of {command[0]}")
    return [d for d in documents or [] if isinstance(d, dict) and "id" in d]


def table(rows: list[list[str]]) -> str:
    """Columns as runc lines them up: at least 12 wide, three spaces apart."""
    widths = [max(LEAST_WIDTH, *(len(row[i]) + GAP for row in rows)) for i in range(len(TITLES) - 1)]
    return "\n".join("".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)


COMMAND = Command(
    "list",
    "",
    COMMANDS["list"],
    run,
    [
        setting("format", "table|json", "How to print it", "f", default="table"),
        switch("quiet", "Print the ids alone", "q"),
    ],
    most=0,
    program="sampan-oci",
)
