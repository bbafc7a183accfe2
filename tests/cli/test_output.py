from __future__ import annotations

import json

import pytest

from sampan.core.errors import Invalid
from sampan.doors.cli.output import (
    Column,
    has_labels,
    parse_filters,
    print_table,
    shorten,
    show,
    show_documents,
)

COLUMNS = [Column("ID", "CONTAINER ID"), Column("Names", "NAMES"), Column("Size", "SIZE", shown=False)]
ROWS = [{"ID": "0123456789ab", "Names": "web", "Size": "1kB"}, {"ID": "ab", "Names": "a b", "Size": "0B"}]


def test_the_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, COLUMNS)
    assert capsys.readouterr().out == "CONTAINER ID   NAMES\n0123456789ab   web\nab             a b\n"


def test_an_empty_table_has_its_titles(capsys: pytest.CaptureFixture[str]) -> None:
    show([], COLUMNS, "table")
    assert capsys.readouterr().out == "CONTAINER ID   NAMES\n"


def test_columns_are_at_least_ten_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["A", "B"], [["1", "2"]])
    assert capsys.readouterr().out == "A         B\n1         2\n"


def test_wide_letters_count_twice(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["NAME", "B"], [["舢板舢板舢板", "2"], ["e\u0301", "3"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME           B", "舢板舢板舢板   2", "e\u0301              3"]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, COLUMNS, "json")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_a_template_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, COLUMNS, "{{.ID}} {{.Size}}")
    assert capsys.readouterr().out == "0123456789ab 1kB\nab 0B\n"


def test_a_table_by_template_has_titles(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, COLUMNS, r"table {{.Names}}\t{{upper .Size}}")
    assert capsys.readouterr().out == "NAMES     SIZE\nweb       1KB\na b       0B\n"


def test_a_wrong_field_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Invalid, match=r"no field \.Nmae; there are: ID, Names, Size"):
        show(ROWS, COLUMNS, "{{.Nmae}}")


def test_documents_are_an_array(capsys: pytest.CaptureFixture[str]) -> None:
    show_documents([{"Id": "x"}], "")
    assert json.loads(capsys.readouterr().out) == [{"Id": "x"}]
    show_documents([{"Id": "x"}, {"Id": "y"}], "{{.Id}}")
    assert capsys.readouterr().out == "x\ny\n"


def test_filters() -> None:
    assert parse_filters(["name=a", "name=b", "label=k=v"], ("name", "label")) == {
        "name": ["a", "b"],
        "label": ["k=v"],
    }
    with pytest.raises(Invalid, match="not KEY=VALUE"):
        parse_filters(["name"], ("name",))
    with pytest.raises(Invalid, match="'nmae' is not a filter of this command; there are: name"):
        parse_filters(["nmae=x"], ("name",))


def test_labels() -> None:
    assert has_labels({"a": "1", "b": ""}, ["a", "b", "a=1", "b="])
    assert not has_labels({"a": "1"}, ["a=2"])
    assert not has_labels({"a": "1"}, ["a", "b"])


def test_shortened_text_shows_that_it_was_cut() -> None:
    assert shorten("12345", 5) == "12345"
    assert shorten("123456", 5) == "1234…"
