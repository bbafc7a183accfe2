"""What `--help` prints, made from the tables."""

from __future__ import annotations

from sampan.doors.oci.listing import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Command, Option


def overview(options: list[Option]) -> str:
    """The help of the program."""
    commands = [f"  {name:<12}{summary}" for name, summary in COMMANDS.items()]
    lines = ["Usage: sampan-oci [OPTIONS] COMMAND [ARG...]", "", "An OCI runtime that runs WebAssembly", ""]
    lines += ["Commands:", *commands, "", "Global options:", *map(_line, options), ""]
    lines += ["Example:", "  sampan-oci run -b my-bundle my-container"]
    return "\n".join(lines)


def of_command(command: Command) -> str:
    """The help of one command."""
    lines = [f"Usage: sampan-oci {command.name} [OPTIONS] {command.usage}".rstrip(), "", command.summary]
    if command.options:
        lines += ["", "Options:", *map(_line, command.options)]
    if command.examples:
        lines += ["", "Examples:", *(f"  {example}" for example in command.examples)]
    return "\n".join(lines)


def _line(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    flag = f"--{option.name} {option.value}".rstrip()
    default = f" (default {option.default})" if option.default else ""
    return f"  {short}{flag:<28} {option.help}{default}"
