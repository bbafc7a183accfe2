"""All commands with one line each: what `sampan --help` shows and what a word on the command line means.

The commands themselves are in `commands/NAME.py`, imported when called; this table spares `sampan ps` the others.
"""

from __future__ import annotations

from sampan.core.commandline import UsageError, suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Command

COMMON = {
    "run": "Create and run a new container from an image or a .wasm file",
    "exec": "Run another module in a running container's world",
    "ps": "List containers",
    "build": "Build an image from a Containerfile or a .wasm file",
    "pull": "Download an image from a registry",
    "push": "Upload an image to a registry",
    "images": "List images",
    "explain": "Say what a file, an image or a bundle is, and why",
    "login": "Log in to a registry",
    "logout": "Log out from a registry",
    "version": "Show the versions of Sampan and its engine",
    "info": "Show what this machine and this user can have",
}
PLAIN = {
    "attach": "Attach to a running container's input and output",
    "completion": "Print the completion script of a shell",
    "cp": "Copy files between a container and the host",
    "create": "Create a new container, to be started later",
    "cri": "Serve a kubelet: run Wasm pods, and pass all others on",
    "events": "Show what happens to containers, as it happens",
    "history": "Show the history of an image",
    "inspect": "Show everything about containers or images, as JSON",
    "kill": "Send a signal to running containers",
    "load": "Load images from an archive, a layout folder or standard input",
    "logs": "Show what a container wrote",
    "port": "Show a container's published ports",
    "rename": "Give a container another name",
    "restart": "Restart containers",
    "rm": "Remove containers",
    "rmi": "Remove images",
    "save": "Save images to an archive, a layout folder or standard output",
    "start": "Start stopped containers",
    "stats": "Show what running containers use",
    "stop": "Stop running containers",
    "tag": "Give an image another name",
    "top": "Show the processes of a container",
    "wait": "Wait until containers end, and print their exit codes",
}
NESTED = {
    "container prune": "Remove all stopped containers",
    "image convert": "Change an image into another of the field's formats",
    "image inspect": "Show everything about images, as JSON",
    "image prune": "Remove images that nothing names, and content that nothing needs",
    "system df": "Show what takes how much of the disk",
    "system fsck": "Check everything that is kept, and repair what can be",
    "system prune": "Remove stopped containers and images that nothing names",
}
MANAGEMENT = {
    "container": "Manage containers",
    "image": "Manage images",
    "system": "Manage what is kept on this machine",
}
SUMMARIES = {**COMMON, **PLAIN, **NESTED}

_CONTAINER = [
    *("attach", "cp", "create", "exec", "inspect", "kill", "logs", "port", "rename"),
    *("restart", "rm", "run", "start", "stats", "stop", "top", "wait"),
]
_IMAGE = ["build", "history", "load", "pull", "push", "save", "tag"]
ALIASES = {
    **{f"container {name}": name for name in _CONTAINER},
    **{f"image {name}": name for name in _IMAGE},
    "container ls": "ps",
    "container list": "ps",
    "container ps": "ps",
    "container remove": "rm",
    "image ls": "images",
    "image list": "images",
    "image rm": "rmi",
    "image remove": "rmi",
    "system events": "events",
    "system info": "info",
}


def resolve(words: list[str]) -> tuple[str, list[str]]:
    """The command that `words` begin with, by its own name, and the words after it.

    A management word alone ("image") comes back as it is.

    Raises:
        UsageError: no such command.
    """
    first = words[0]
    if first in MANAGEMENT:
        if len(words) == 1 or words[1].startswith("-"):
            return first, words[1:]
        pair = f"{first} {words[1]}"
        if pair in ALIASES or pair in NESTED:
            return ALIASES.get(pair, pair), words[2:]
        raise _unknown(pair, [*ALIASES, *NESTED])
    if first in SUMMARIES:
        return first, words[1:]
    raise _unknown(first, [*SUMMARIES, *MANAGEMENT])


def _unknown(name: str, known: list[str]) -> UsageError:
    if " " not in name and ("/" in name or name.endswith((".wasm", ".wat"))):
        fix = f"to run a file: sampan run {name[:60]}"
    else:
        fix = suggestion(name, known)
    return UsageError(f"{name[:60]!r} is not a sampan command", fix=fix)


def load(name: str) -> Command:
    """The command called `name`, a key of `SUMMARIES`; imports its module and nothing of the others."""
    module = f"sampan.doors.cli.commands.{name.replace(' ', '_')}"
    command: Command = __import__(module, fromlist=["COMMAND"]).COMMAND
    return command
