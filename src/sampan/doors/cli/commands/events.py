"""`sampan events`: what happens to containers and images, as it happens."""

from __future__ import annotations

import sys

from sampan.container.events import listen
from sampan.core.units import rfc3339
from sampan.doors.cli import listing
from sampan.doors.cli.moments import parse_moment
from sampan.doors.cli.options import Command, setting
from sampan.doors.cli.output import filter_option, has_labels, parse_filters, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.events import Event
    from sampan.doors.cli.context import Context
    from sampan.doors.cli.options import Arguments

FILTERS = ("container", "event", "image", "label", "type")


def run(context: Context, args: Arguments) -> int:
    filters = parse_filters(args.values("filter"), FILTERS)
    since = parse_moment(args.value("since"), "since") if args.given("since") else None
    until = parse_moment(args.value("until"), "until") if args.given("until") else None
    style = args.value("format")
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
    """Values of one key are alternatives; all keys must fit."""
    names = {event.id, event.attributes.get("name", "")}
    asked = {
        "type": lambda wanted: event.type in wanted,
        "event": lambda wanted: event.action in wanted,
        "container": lambda wanted: event.type == "container" and _is_one(names, wanted),
        "image": lambda wanted: event.attributes.get("image", event.id) in wanted,
        "label": lambda wanted: has_labels(event.attributes, wanted),
    }
    return all(asked[key](wanted) for key, wanted in filters.items())


def _is_one(names: set[str], wanted: list[str]) -> bool:
    return any(
        name == text or (len(text) >= 4 and name.startswith(text)) for text in wanted for name in names
    )


def _line(event: Event) -> str:
    said = ", ".join(f"{name}={value}" for name, value in sorted(event.attributes.items()))
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
    examples=["sampan events --since 10m -f event=die", "sampan events --format '{{.Action}} {{.ID}}'"],
)
