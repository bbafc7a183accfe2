"""Help texts, from the same tables as the parser."""

from __future__ import annotations

from sampan.core.commandline import HELP, Command, Option
from sampan.doors.cli import listing

GLOBAL_USAGE = "Usage:  sampan [OPTIONS] COMMAND"


def of_command(command: Command) -> str:
    """The help of one command: usage, aliases, flags, an example at the end."""
    parts = [f"Usage:  sampan {command.name} {command.usage}".rstrip(), command.summary]
    aliases = [alias for alias, name in listing.ALIASES.items() if name == command.name]
    if aliases:
        parts.append("Aliases:\n  " + ", ".join(f"sampan {name}" for name in [command.name, *aliases]))
    shown = sorted((o for o in command.options if not o.refusal), key=lambda o: o.name)
    parts.append("Options:\n" + of_options([*shown, HELP]))
    if any(option.own for option in shown):
        parts.append("Flags marked * are Sampan's own; the others mean what they mean to Docker.")
    if command.notes:
        parts.append(command.notes)
    if command.examples:
        parts.append("Examples:\n" + "\n".join(f"  {line}" for line in command.examples))
    return "\n\n".join(parts)


def of_options(options: list[Option]) -> str:
    """Two columns: the flags and what they do."""
    rows = []
    for option in options:
        short = f"-{option.short}, " if option.short else "    "
        flag = f"  {short}--{option.name} {option.value}".rstrip()
        text = option.help + (f" (default {option.default})" if option.default else "")
        rows.append((flag, text + (" *" if option.own else "")))
    return _columns(rows)


def of_everything(global_options: list[Option]) -> str:
    """The help of `sampan` itself: the commands in groups."""
    groups = [
        GLOBAL_USAGE,
        "Run WebAssembly from files and images, with Docker's habits",
        "Common Commands:\n" + _commands(listing.COMMON),
        "Management Commands:\n" + _commands(listing.MANAGEMENT),
        "Commands:\n" + _commands(listing.PLAIN),
        "Global Options:\n" + of_options(global_options),
        "Examples:\n  sampan run hello.wasm\n  sampan run -d -p 8080:8080 --name web IMAGE",
        "Run 'sampan COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(groups)


def of_group(name: str) -> str:
    """The help of a management word: its commands."""
    inside: dict[str, str] = {}
    for pair, target in {**listing.ALIASES, **{n: n for n in listing.NESTED}}.items():
        group, _, verb = pair.partition(" ")
        if group == name and verb not in ("list", "ps", "remove"):
            inside[verb] = listing.SUMMARIES[target]
    parts = [
        f"Usage:  sampan {name} COMMAND",
        listing.MANAGEMENT[name],
        "Commands:\n" + _commands(dict(sorted(inside.items()))),
        f"Run 'sampan {name} COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(parts)


def _commands(summaries: dict[str, str]) -> str:
    return _columns([(f"  {name}", text) for name, text in summaries.items()])


def _columns(rows: list[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows) + 3
    return "\n".join(f"{left:<{width}}{right}".rstrip() for left, right in rows)
