"""JSON from strangers, read strictly, and our own JSON, written.

Python's `json` keeps the last of two equal keys, takes NaN and guesses UTF-16; a digest-addressed document
that two readers read differently is an attack, so all of these are refused here. The C scanner is used
directly: `import json` costs 12 ms (it brings `re`), this costs 1.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

from sampan.core.errors import Exhausted, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 4 << 20
MAX_DEPTH = 64


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Invalid(f"the key {key!r} stands twice in one JSON object")
            seen.add(key)
    return out


def _no_constant(name: str) -> Any:
    raise Invalid(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Invalid(f"the number {text[:40]} is too large")
    return value


class _Rules:
    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_no_duplicates)
    parse_float = staticmethod(_finite)
    parse_int = staticmethod(int)
    parse_constant = staticmethod(_no_constant)
    memo: dict[str, str] = {}


_scan = make_scanner(_Rules)  # type: ignore[arg-type]  # any object with these attributes


def _scan_explained(text: str) -> tuple[Any, int]:
    try:
        return _scan(text, 0)
    except SystemError:  # the scanner takes its exception's class from json.decoder, if that is loaded
        pass
    try:
        import json.decoder  # noqa: F401 - for the scanner

        return _scan(text, 0)
    except ImportError:  # a jailed process opens no files, not even for an explanation
        raise ValueError("it is malformed") from None


def loads(data: bytes | str, *, what: str = "the document", limit: int = MAX_BYTES) -> Any:
    """The value of one JSON text.

    Args:
        data: UTF-8 without a byte order mark.
        what: how errors name it ("the manifest of docker.io/library/x").
        limit: the most bytes that are looked at.

    Raises:
        Exhausted: more than `limit` bytes.
        Invalid: not UTF-8, not JSON (RFC 8259), a repeated key, a number out of range, deeper than 64.
    """
    if len(data) > limit:
        raise Exhausted(f"{what} has {len(data)} bytes, more than the {limit} allowed")
    try:
        text = data if isinstance(data, str) else str(data, "utf-8")
        body = text.strip(" \t\r\n")
        value, end = _scan_explained(body)
    except Invalid as error:
        raise Invalid(f"{what} is not valid: {error.message}") from None
    except StopIteration as stop:
        raise Invalid(f"{what} is not JSON (at character {stop.value})") from None
    except RecursionError:
        raise Invalid(f"{what} is nested too deeply") from None
    except ValueError as error:  # bad UTF-8, bad string, an integer of more than 4300 digits
        raise Invalid(f"{what} is not JSON: {error}") from None
    if end != len(body):
        raise Invalid(f"{what} is not JSON: more follows at character {end}")
    _check(value, what, MAX_DEPTH)
    return value


def _check(value: Any, what: str, depth: int) -> None:
    if depth == 0:
        raise Invalid(f"{what} is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, what)
            _check(item, what, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, what, depth - 1)
    elif isinstance(value, str):
        _check_text(value, what)


def _check_text(text: str, what: str) -> None:
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise Invalid(f"{what} has half of a surrogate pair in a string")


def _unknown(value: object) -> Any:
    to_json = getattr(value, "to_json", None)
    if to_json is None:
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return to_json()


def dumps(value: Any, *, sort: bool = False) -> bytes:
    """`value` as compact ASCII JSON, without a line end; a `Record` writes itself."""
    encode = make_encoder({}, _unknown, encode_basestring_ascii, None, ":", ",", sort, False, False)
    return "".join(encode(value, 0)).encode()


def document(value: Any, what: str) -> bytes:
    """`value` as `dumps` has it, for a file that `loads` reads again.

    Args:
        what: how the error names it.

    Raises:
        Exhausted: it would be too long to be read.
    """
    data = dumps(value)
    if len(data) > MAX_BYTES:
        raise Exhausted(f"{what} takes {len(data)} bytes, more than the {MAX_BYTES} that can be kept")
    return data


def pretty(value: Any) -> str:
    """`value` as JSON for people: four spaces, as Docker prints it."""
    import json

    return json.dumps(value, indent=4, default=_unknown, ensure_ascii=False)
