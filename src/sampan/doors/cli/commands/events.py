"""`sampan events`: what happens to containers and images, as it happens."""

from __future__ import annotations

import sys

from sampan.container.events import listen
from sampan.core.commandline import Command, setting
from sampan.core.errors import Invalid, printable
from sampan.core.units import rfc3339
from sampan.doors.cli import listing
from sampan.doors.cli.moments import parse_moment
from sampan.doors.cli.output import filter_option, has_labels, parse_filters, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.container.events import Event
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

FILTERS = ("container", "event", "image", "label", "type")


def run(context: Context, args: Arguments) -> int:
    filters = parse_filters(args.values("filter"), FILTERS)
    since = parse_moment(args.value("since"), "since") if args.given("since") else None
    until = parse_moment(args.value("until"), "until") if args.given("until") else None
    style = args.value("format")
    if style.startswith("table"):
        raise Invalid("events are no table", fix="use --format json or a template like '{{.Action}} {{.ID}}'")
    for event in listen(context.roots, since=since, until=until):
        if not _fits(event, filters):
            continue
        if style:
            show([_row(event)], [], style)
        else:
            print(_line(event))
        sys.stdout.flush()
    return 0


def _fits(event: Event, filters: dict[str, list[str]]) -> bool:
    """Values of one key are alternatives, but an event has all labels that are asked for; all keys must fit."""
    is_container, name = event.type == "container", event.attributes.get("name", "")
    tests: dict[str, Callable[[list[str]], bool]] = {
        "type": lambda wanted: event.type in wanted,
        "event": lambda wanted: event.action in wanted,
        "container": lambda wanted: is_container and _is_one([event.id, name], wanted),
        "image": lambda wanted: _is_image([event.attributes.get("image", "")] if is_container else [event.id, name],
                                          wanted),
        "label": lambda wanted: is_container and has_labels(event.attributes, wanted),
    }  # fmt: skip
    return all(tests[key](wanted) for key, wanted in filters.items())


def _is_one(known: list[str], wanted: list[str]) -> bool:
    """Whether something is meant by its name or by a beginning of its id."""
    container_id, name = known
    return any(text == name or (text and container_id.startswith(text)) for text in wanted)


def _is_image(known: list[str], wanted: list[str]) -> bool:
    """Whether an image is meant by its name, with or without a tag, or by its id."""
    return any(text and any(name == text or name.startswith(f"{text}:") for name in known) for text in wanted)


def _line(event: Event) -> str:
    said = printable(", ".join(f"{name}={value}" for name, value in sorted(event.attributes.items())))
    return f"{rfc3339(event.time)} {event.type} {event.action} {event.id}" + (f" ({said})" if said else "")


def _row(event: Event) -> dict[str, object]:
    return {
        "Type": event.type,
        "Action": event.action,
        "ID": event.id,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "time": event.time // 10**9,
        "timeNano": event.time,
    }


COMMAND = Command(
    "events",
    "[OPTIONS]",
    listing.SUMMARIES["events"],
    run,
    [
        filter_option(FILTERS),
        setting("format", "TEMPLATE", "Print by 'json' or a Go template"),
        setting("since", "TIME", "Begin with events of this time, like 10m"),
        setting("until", "TIME", "End at this time"),
    ],
    most=0,
    notes="It ends at --until, or with Ctrl-C.",
    examples=["sampan events --since 10m -f event=die", "sampan events --format '{{.Action}} {{.ID}}'"],
)
