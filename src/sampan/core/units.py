"""Sizes, durations and times: as people type them, and as tables show them (Docker's forms)."""

from __future__ import annotations

import time

from sampan.core.errors import Invalid

_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATIONS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def parse_size(text: str, what: str = "size") -> int:
    """Bytes of `512`, `64k`, `1.5g`, `10MiB` (powers of 1024, as `docker run -m`).

    Raises:
        Invalid: not such a text, or 2^63 and more.
    """
    lower = text.strip().lower()
    digits = lower.rstrip("bikmgtp")
    suffix = lower[len(digits) :].removesuffix("b").removesuffix("i")
    number = _number(digits.rstrip())
    if number is None or suffix not in _SIZES:
        raise Invalid(f"{text[:40]!r} is not a {what}", fix="write it like 64m, 1.5g or 1048576")
    value = int(number * _SIZES[suffix])
    if value >= 1 << 63:
        raise Invalid(f"the {what} {text[:40]!r} is too large")
    return value


def parse_duration(text: str, what: str = "duration") -> float:
    """Seconds of `10`, `1.5s`, `2m30s`, `1h`, `300ms` (Go's syntax; a bare number is seconds).

    Raises:
        Invalid: not such a text.
    """
    rest = text.strip()
    bare = _number(rest)
    if bare is not None:
        return bare
    total = 0.0
    while rest:
        end = 0
        while end < len(rest) and (rest[end].isdigit() or rest[end] == "."):
            end += 1
        number = _number(rest[:end])
        unit_end = end
        while unit_end < len(rest) and not (rest[unit_end].isdigit() or rest[unit_end] == "."):
            unit_end += 1
        scale = _DURATIONS.get(rest[end:unit_end])
        if number is None or scale is None:
            break
        total += number * scale / 10**9
        rest = rest[unit_end:]
    if rest or not text.strip():
        raise Invalid(f"{text[:40]!r} is not a {what}", fix="write it like 10, 1.5s, 2m30s or 300ms")
    return total


def _number(text: str) -> float | None:
    whole, dot, part = text.partition(".")
    if not text.isascii() or not (whole + part).isdigit() or (dot and not part) or len(text) > 24:
        return None
    return float(text)


def show_size(value: int, *, binary: bool = False) -> str:
    """`12.3MB` (powers of 1000, four digits, as Docker's tables) or `12.3MiB`."""
    base, units = (1024, "B KiB MiB GiB TiB PiB") if binary else (1000, "B kB MB GB TB PB")
    size = float(value)
    for unit in units.split():
        if size < base or unit[0] == "P":
            break
        size /= base
    return f"{size:.4g}{unit}"


def show_age(seconds: float) -> str:
    """`About an hour`, `3 days`: Docker's words for a length of time."""
    s = max(0, int(seconds))
    if s < 1:
        return "Less than a second"
    if s < 60:
        return f"{s} second" + ("s" if s != 1 else "")
    minutes = s // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(s / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = s // 86400
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def rfc3339(nanoseconds: int) -> str:
    """`2026-11-21T03:45:00.123456789Z`, as OCI, CRI and Docker write times."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time; `Z` or `+hh:mm`, any number of decimals.

    Raises:
        Invalid: not such a time.
    """
    from datetime import datetime

    head, dot, tail = text.strip().partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    zone = tail[len(digits) :] if dot else ""
    try:
        moment = datetime.fromisoformat(head + zone)
    except ValueError:
        raise Invalid(f"{text[:40]!r} is not an RFC 3339 time") from None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    whole = int(moment.timestamp() // 1)
    return whole * 10**9 + int((digits + "000000000")[:9] if digits else 0)
