"""The functions of templates: Go's own that people use, and the ones that Docker adds."""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def truth(value: object) -> bool:
    """Go's truth: false, 0, nil and what is empty are not true."""
    return bool(value)


def show(value: object) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_inner(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_inner(item) for item in value) + "]"
    return str(value)


def _inner(value: object) -> str:
    return "<nil>" if value is None else show(value)


def call(name: str, values: list[Any]) -> Any:
    """What the function gives for these arguments; a piped value is the last one.

    Raises:
        Invalid: too few or too many arguments, or of another type than it takes.
    """
    try:
        return FUNCTIONS[name](*values)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        raise Invalid(f"template: {name} cannot take {', '.join(show(v)[:40] for v in values)}") from error


def _json(value: Any) -> str:
    return strictjson.dumps(value, sort=True).decode()


def _println(*values: Any) -> str:
    return " ".join(map(show, values)) + "\n"


def _print(*values: Any) -> str:
    return "".join(map(show, values))


def _printf(form: str, *values: Any) -> str:
    """Go's verbs %v %s %d %q %t %x %f with width, precision, `-` and `0`."""
    out: list[str] = []
    left = list(values)
    at = 0
    while at < len(form):
        char = form[at]
        at += 1
        if char != "%":
            out.append(char)
            continue
        start = at
        while at < len(form) and form[at] in "-+ 0123456789.":
            at += 1
        spec, verb = form[start:at], form[at : at + 1]
        at += 1
        out.append("%" if verb == "%" else _formatted(spec, verb, left))
    if left:
        raise ValueError("more values than verbs")
    return "".join(out)


def _formatted(spec: str, verb: str, left: list[Any]) -> str:
    if not left:
        raise ValueError("fewer values than verbs")
    if any(len(number) > 4 for number in spec.lstrip("-+ 0").split(".")):
        raise ValueError("too wide")
    value = left.pop(0)
    if verb in ("v", "s", "t"):
        return f"%{spec}s" % show(value)
    if verb == "q":
        return f"%{spec}s" % _json(show(value))
    if verb in ("d", "x", "f"):
        return str(f"%{spec}{verb}" % value)
    raise Invalid(f"template: printf's verb %{verb} is not supported")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif type(key) is int and key >= 0:
            value = value[key]
        else:
            raise TypeError("not an index")
    return value


def _slice(value: Any, first: int = 0, last: int | None = None) -> Any:
    last = len(value) if last is None else last
    if not 0 <= first <= last <= len(value):
        raise IndexError("out of range")
    return value[first:last]


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TypeError("nothing to compare with")
    return any(first == other for other in others)


def _truncate(text: str, most: int) -> str:
    return text[:most] if len(text) > most >= 0 else text


def _pad(text: str, before: int, after: int) -> str:
    if not text:
        return text
    if max(before, after) > 1000:
        raise ValueError("too wide")
    return " " * before + text + " " * after


def _and(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "print": _print,
    "println": _println,
    "printf": _printf,
    "len": len,
    "index": _index,
    "slice": _slice,
    "eq": _equal,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text.title(),
    "split": lambda text, separator: text.split(separator),
    "join": lambda parts, separator: separator.join(map(show, parts)),
    "truncate": _truncate,
    "pad": _pad,
}
