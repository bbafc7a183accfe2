"""`sampan-oci spec`: writes a config.json to begin with."""

from __future__ import annotations

import json

from sampan.core.commandline import Command, setting, switch
from sampan.core.errors import Exists, Invalid, from_os_error
from sampan.doors.oci.listing import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context


def run(context: Context, arguments: Arguments) -> int:
    from sampan.doors.oci.template import default_document

    document = default_document(rootless=arguments.on("rootless"))
    path = f"{arguments.value('bundle') or '.'}/config.json"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(document, indent="\t") + "\n")
    except FileExistsError as error:
        raise Exists(f"{path} exists", fix="remove it first") from error
    except ValueError as error:
        raise Invalid(f"the bundle's path {path[:60]!r} has a NUL byte in it") from error
    except OSError as error:
        raise from_os_error(error, f"write {path}") from error
    return 0


COMMAND = Command(
    "spec",
    "",
    COMMANDS["spec"],
    run,
    [
        setting("bundle", "DIR", "The bundle (default: the present folder)", "b"),
        switch("rootless", "For a user without privileges"),
    ],
    most=0,
    program="sampan-oci",
)
