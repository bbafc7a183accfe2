"""One entry put into a JSON file or taken out of it, and every other byte left as it is."""

from __future__ import annotations

import json
from json.decoder import JSONDecoder

from sampan.core import strictjson
from sampan.core.errors import Invalid, Precondition
from sampan.core.record import Record
from sampan.doors.oci.setup.entries import is_same, with_entry, without_entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLANK = " \t\r\n"
_DECODER = JSONDecoder()


class _Member(Record):
    """One member of an object, by positions in the text."""

    key: str
    start: int
    value: int
    end: int


def parse(text: str, what: str) -> dict[str, Any]:
    """The object that `text` is; blank text is an empty one.

    Raises:
        Invalid: it is not JSON, or not an object; `what` is named.
    """
    value = strictjson.loads(text, what=what) if text.strip(_BLANK) else {}
    if not isinstance(value, dict):
        raise Invalid(f"{what} is not a JSON object")
    return value


def add(text: str, keys: list[str], value: Any, what: str) -> str:
    """`text` with `value` at `keys`, where nothing is yet.

    Raises:
        Invalid: there is something else than an object on the way.
    """
    before = parse(text, what)
    if not before:
        return json.dumps(with_entry({}, keys, value), indent=2, ensure_ascii=False) + "\n"
    at = _skip(text, 0)
    for depth, key in enumerate(keys):
        if text[at] != "{":
            raise Invalid(f"{'.'.join(keys[:depth])} in {what} is not an object")
        found = next((m for m in _members(text, at) if m.key == key), None)
        if found is None:
            rest = keys[depth + 1 :]
            text = _insert(text, at, key, with_entry({}, rest, value) if rest else value)
            break
        at = found.value
    return _proved(text, with_entry(before, keys, value), what)


def remove(text: str, keys: list[str], what: str) -> str:
    """`text` with nothing at `keys`; objects that held only that go as well.

    Raises:
        Invalid: `text` is broken.
    """
    before = parse(text, what)
    if not before:
        return text
    at = _skip(text, 0)
    cut = (at, at)
    for depth, key in enumerate(keys):
        if text[at] != "{":
            return text
        members = _members(text, at)
        place = next((i for i, m in enumerate(members) if m.key == key), None)
        if place is None:
            return text
        if len(members) > 1 or depth == 0:  # an object that would be left empty goes as a whole
            cut = _span(text, at, members, place)
        at = members[place].value
    return _proved(text[: cut[0]] + text[cut[1] :], without_entry(before, keys), what)


def _proved(text: str, expected: dict[str, Any], what: str) -> str:
    if not is_same(parse(text, what), expected):
        raise Precondition(f"{what} cannot be edited without changing more than our own entry")
    return text


def _span(text: str, start: int, members: list[_Member], place: int) -> tuple[int, int]:
    """What to cut for one member: with the comma before it, or the one after it if it is the first."""
    if place > 0:
        return members[place - 1].end, members[place].end
    if len(members) > 1:
        return members[0].start, members[1].start
    return start + 1, _skip(text, members[0].end)


def _insert(text: str, start: int, key: str, value: Any) -> str:
    """The object at `start` with one more member at its end, indented as its neighbours are."""
    members = _members(text, start)
    unit = _unit(text)
    if members:
        margin = text[start + 1 : members[0].start]
        at = end = members[-1].end
        before, after = ("," + margin, "") if "\n" in margin else (", ", "")
    else:
        at, end = start + 1, _skip(text, start + 1)
        outer = "\n" + _indentation(text, start)
        margin = outer + unit if unit else ""
        before, after = (margin, outer) if unit else ("", "")
    return text[:at] + before + _rendered(key, value, margin, unit) + after + text[end:]


def _rendered(key: str, value: Any, margin: str, unit: str) -> str:
    """`"key": value`, over several lines where the file is written so."""
    indent = unit if unit and "\n" in margin else None
    lines = f"{json.dumps(key)}: {json.dumps(value, indent=indent, ensure_ascii=False)}".split("\n")
    return f"\n{margin.rpartition(chr(10))[2]}".join(lines)


def _unit(text: str) -> str:
    """What the file's outermost members are indented by; "" if it is written on one line."""
    start = _skip(text, 0)
    members = _members(text, start)
    margin = text[start + 1 : members[0].start]
    return margin.rpartition("\n")[2] if "\n" in margin else ""


def _indentation(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(_BLANK))]


def _members(text: str, start: int) -> list[_Member]:
    """The members of the object at `start`; the text is known to be JSON."""
    found: list[_Member] = []
    at = _skip(text, start + 1)
    while text[at] != "}":
        if text[at] == ",":
            at = _skip(text, at + 1)
        key, end = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, end) + 1)
        _, end = _DECODER.raw_decode(text, value)
        found.append(_Member(key, at, value, end))
        at = _skip(text, end)
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at
