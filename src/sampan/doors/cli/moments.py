"""Moments as people type them after `--since` and `--until`."""

from __future__ import annotations

import time

from sampan.core.errors import Invalid
from sampan.core.units import parse_duration, parse_rfc3339

MAX_DIGITS = 11


def parse_moment(text: str, flag: str) -> int:
    """Nanoseconds since 1970 of `10m` (that long ago), `1795236938.5` (Unix time) or an RFC 3339 time.

    Raises:
        Invalid: none of them, or thousands of years away.
    """
    seconds, dot, part = text.partition(".")
    if _is_number(seconds) and (not dot or _is_number(part)):
        if len(seconds) > MAX_DIGITS:
            raise Invalid(f"--{flag} {text[:40]!r} is too far in the future")
        return int(seconds) * 10**9 + int((part + "0" * 9)[:9])
    try:
        return parse_rfc3339(text)
    except Invalid:
        pass
    try:
        return time.time_ns() - int(parse_duration(text) * 10**9)
    except Invalid:
        raise Invalid(
            f"--{flag} {text[:40]!r} is not a time",
            fix="write it like 10m, 2026-11-21T03:45:00Z or 1795236938",
        ) from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
