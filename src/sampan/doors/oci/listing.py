"""All commands of `sampan-oci` with one line each; their modules are imported when called."""

from __future__ import annotations

import sys

from sampan.core.commandline import UsageError, suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Command

COMMANDS = {
    "checkpoint": "Refused: a Wasm container cannot be saved and restored",
    "create": "Create a container from a bundle; its workload waits for start",
    "delete": "Remove what is left of a stopped container",
    "events": "Show what containers use, and when memory ran out",
    "exec": "Run another module of the root filesystem in a running container",
    "features": "Print the OCI features document",
    "install": "Make docker, podman, containerd or crio know this runtime",
    "kill": "Send a signal to a container",
    "list": "List the containers below this root",
    "pause": "Stop all processes of a container where they are",
    "ps": "List the processes of a container",
    "restore": "Refused: a Wasm container cannot be saved and restored",
    "resume": "Let the processes of a paused container go on",
    "run": "Create and start a container",
    "spec": "Write a config.json for a Wasm bundle",
    "start": "Start the workload of a created container",
    "state": "Print a container's state",
    "uninstall": "Undo install",
    "update": "Change what a container may use",
}


def load(name: str) -> Command:
    """The command of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in COMMANDS:
        raise UsageError(f"{name[:40]!r} is not a command of sampan-oci", fix=suggestion(name, COMMANDS))
    __import__(f"sampan.doors.oci.commands.{name}")
    command: Command = sys.modules[f"sampan.doors.oci.commands.{name}"].COMMAND
    return command
