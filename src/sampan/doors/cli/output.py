"""What commands print: Docker's plain tables, one JSON object a line, or a template of the user's.

A command gives rows, which are dicts with Docker's field names, and the columns that its table has. Widths are
Docker's: at least ten characters and three spaces between columns, no boxes, no colour.
"""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.commandline import Option, collected, setting, switch
from sampan.core.errors import Invalid
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

MIN_WIDTH = 10
PADDING = 3
SHORT_ID = 12

FORMAT = setting("format", "TEMPLATE", "Print by 'json', 'table', 'table TEMPLATE' or a Go template")
QUIET = switch("quiet", "Print ids only", "q")
NO_TRUNC = switch("no-trunc", "Do not shorten the output")


def filter_option(keys: Iterable[str]) -> Option:
    """`-f KEY=VALUE` for a command that knows these keys."""
    return collected("filter", "KEY=VALUE", f"Show only what fits ({', '.join(keys)})", "f")


class Column(Record):
    """A field of a row and its heading; `shown` in the table that is printed without a template."""

    field: str
    title: str
    shown: bool = True


def show(rows: Iterable[Mapping[str, Any]], columns: list[Column], style: str = "") -> None:
    """Prints rows.

    Args:
        style: the value of `--format`; "" and "table" for the command's own columns.

    Raises:
        Invalid: the template is wrong, or names a field that the rows do not have.
    """
    if style in ("", "table"):
        shown = [column for column in columns if column.shown]
        print_table([c.title for c in shown], [[str(row[c.field]) for c in shown] for row in rows])
    elif style == "json":
        for row in rows:
            print(strictjson.dumps(row, sort=True).decode())
    else:
        _show_template(rows, columns, style)


def _show_template(rows: Iterable[Mapping[str, Any]], columns: list[Column], style: str) -> None:
    from sampan.doors.cli.template import Template

    head, space, rest = style.partition(" ")
    is_table = head == "table" and bool(space)
    template = Template(rest if is_table else style)
    if not is_table:
        for row in rows:
            print(template.render(row))
        return
    titles = {column.field: column.title for column in columns}
    lines = [template.render(titles, titles=True), *(template.render(row) for row in rows)]
    cells = [line.split("\t") for line in lines]
    print_table(cells[0], cells[1:])


def print_table(titles: list[str], rows: list[list[str]]) -> None:
    """Prints rows below their titles."""
    lines = [titles, *rows]
    count = max(len(line) for line in lines)
    widths = [
        max(MIN_WIDTH, PADDING + max((_width(line[i]) for line in lines if i < len(line)), default=0))
        for i in range(count)
    ]
    for line in lines:
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(line[:-1], widths)]
        print("".join([*padded, line[-1]]).rstrip())


def _width(text: str) -> int:
    """The columns that `text` takes on a terminal."""
    if text.replace("…", ".").isascii():  # what `shorten` leaves needs no table
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def show_documents(documents: list[Any], style: str) -> None:
    """Prints what `inspect` found: a JSON array, or each document by a template.

    Raises:
        Invalid: the template is wrong, or names a field that is not there.
    """
    if style in ("", "json"):
        print(strictjson.pretty(documents) if not style else strictjson.dumps(documents).decode())
        return
    from sampan.doors.cli.template import Template

    template = Template(style)
    for document in documents:
        print(template.render(document))


def parse_filters(texts: list[str], known: Iterable[str]) -> dict[str, list[str]]:
    """The values of each filter key; several values of one key are alternatives.

    Raises:
        Invalid: not KEY=VALUE, or a key that the command does not know.
    """
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise Invalid(f"the filter {text[:60]!r} is not KEY=VALUE")
        if key not in known:
            raise Invalid(
                f"{key[:40]!r} is not a filter of this command", fix=f"there are: {', '.join(known)}"
            )
        filters.setdefault(key, []).append(value.strip())
    return filters


def has_labels(labels: Mapping[str, str], wanted: list[str]) -> bool:
    """Whether `labels` has every `KEY` and `KEY=VALUE` of `wanted`, as the filter `label` asks."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def shorten(text: str, most: int) -> str:
    """`text` in at most `most` characters, with `…` at the end where it was cut, as Docker does."""
    return text if len(text) <= most else text[: most - 1] + "…"


def yes_no(value: bool) -> str:
    """A truth value as Docker's JSON rows have it."""
    return "true" if value else "false"
