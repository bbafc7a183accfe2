"""A server's log: one line on standard error for each record, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from sampan.core.errors import Invalid

FORMATS = ("text", "json")
LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


def start(level: str, style: str) -> None:
    """Has all loggers write to standard error.

    Args:
        level: of `LEVELS`. style: of `FORMATS`.

    Raises:
        Invalid: it is none of them.
    """
    if level not in LEVELS:
        raise Invalid(f"the log level {level[:40]!r} is not one of {', '.join(LEVELS)}")
    if style not in FORMATS:
        raise Invalid(f"the log format {style[:40]!r} is not one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if style == "json" else Text())
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)


class Text(logging.Formatter):
    """`2026-01-02T03:04:05.678Z INFO sampan.doors.cri.routing.server: what happened`; always one line."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_time(record)} {record.levelname} {record.name}: {_one_line(_message(self, record))}"


class Json(logging.Formatter):
    """The same as an object with `time`, `level`, `logger` and `message`."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": _message(self, record),
            }
        )


def _time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    return f"{text}\n{formatter.formatException(record.exc_info)}" if record.exc_info else text


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
