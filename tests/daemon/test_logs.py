"""A server's log lines."""

from __future__ import annotations

import json
import logging

import pytest

from sampan.core.errors import Invalid
from sampan.daemon import logs


@pytest.fixture(autouse=True)
def root():
    """The root logger comes back as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield root
    root.handlers[:], level = before
    root.setLevel(level)


def test_a_record_is_one_line_of_text(capsys):
    logs.start("info", "text")
    logging.getLogger("a.b").info("a name\nwith \x1b[31m colours")
    logging.getLogger("a.b").debug("not this")
    time, level, logger, text = capsys.readouterr().err.split(" ", 3)
    assert time.endswith("Z") and (level, logger) == ("INFO", "a.b:")
    assert text == "a name\\nwith \\x1b[31m colours\n"


def test_a_record_is_one_object(capsys):
    logs.start("debug", "json")
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("a").exception("it failed")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record["level"] == "error" and record["logger"] == "a"
    assert record["message"].startswith("it failed\nTraceback") and record["message"].endswith("why")


@pytest.mark.parametrize(("level", "style"), [("loud", "text"), ("info", "xml"), ("", "text")])
def test_what_cannot_be_is_refused(level, style):
    with pytest.raises(Invalid):
        logs.start(level, style)
