from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Exhausted, Invalid, NotFound
from sampan.doors.cli.runenv import MAX_FILE, read_annotations, read_environment, read_labels


def test_flags_win_over_files_and_the_last_one_wins(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text('\ufeff# remark\n\n  A=file\nB="as is"\r\nOWN\nNOT_SET\nC=\n', encoding="utf-8")
    entries = read_environment([str(file)], ["A=1", "A=2", "D=x=y", "MINE"], {"OWN": "mine", "MINE": "too"})
    assert entries == ['B="as is"', "OWN=mine", "C=", "A=2", "D=x=y", "MINE=too"]


@pytest.mark.parametrize("text", ["=x", "", "A\0B=1"])
def test_bad_entries_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="--env"):
        read_environment([], [text], {})


def test_bad_files_are_refused_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "env"
    for content, said in [(b"A=1\nB C=2\n", "line 2"), (b"=1\n", "line 1"), (b"\xff\n", "not UTF-8")]:
        file.write_bytes(content)
        with pytest.raises(Invalid, match=said):
            read_environment([str(file)], [], {})
    file.write_bytes(b"A=" + b"x" * MAX_FILE)
    with pytest.raises(Exhausted):
        read_environment([str(file)], [], {})
    with pytest.raises(NotFound, match="read the variables"):
        read_environment([str(tmp_path / "absent")], [], {})


def test_labels_and_annotations(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\nHOME\n")
    assert read_labels([str(file)], ["b", "a=2"]) == {"a": "2", "HOME": "", "b": ""}
    assert read_annotations(["k=v=w", "e="]) == {"k": "v=w", "e": ""}
    with pytest.raises(Invalid, match="KEY=VALUE"):
        read_annotations(["k"])


NAMES = st.text(alphabet="ABCdef_123", min_size=1, max_size=6)
VALUES = st.text(max_size=20).filter(lambda text: not set(text) & set("\0\n\r") and text.isprintable())


@given(st.dictionaries(NAMES, VALUES))
def test_every_value_of_a_file_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: dict[str, str]
) -> None:
    file = tmp_path_factory.mktemp("env") / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in pairs.items()), encoding="utf-8")
    assert read_environment([str(file)], [], {}) == [f"{name}={value}" for name, value in pairs.items()]
