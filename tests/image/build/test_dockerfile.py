"""The Dockerfile's lexical rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Exhausted, Invalid, SampanError, Unimplemented
from sampan.image.build.dockerfile import parse_dockerfile


def parsed(text):
    return [(i.line, i.name, i.words) for i in parse_dockerfile(text).instructions]


def test_comments_blank_lines_and_case():
    assert parsed("\ufeff# c\n\n  from scratch\n#x\n\tcOpY a b # not a comment\n") == [
        (3, "FROM", ["scratch"]),
        (5, "COPY", ["a", "b", "#", "not", "a", "comment"]),
    ]


def test_continued_lines():
    text = "FROM scratch\nENV A=1 \\\n  # a comment between\n\n  B=2 \\  \n  C=3\nUSER me\r\n"
    assert parsed(text) == [
        (1, "FROM", ["scratch"]),
        (2, "ENV", ["A=1", "B=2", "C=3"]),
        (7, "USER", ["me"]),
    ]


def test_the_escape_directive():
    text = "# syntax=docker/dockerfile:1\n# escape=`\nFROM scratch\nCOPY a `\n  C:\\b\n"
    assert parse_dockerfile(text).escape == "`"
    assert parsed(text)[1] == (4, "COPY", ["a", "C:\\b"])


def test_a_directive_after_a_comment_is_a_comment():
    assert parse_dockerfile("# hello\n# escape=`\nFROM scratch\n").escape == "\\"


@pytest.mark.parametrize("text", ["# escape=x\nFROM a", "# escape=`\n# escape=`\nFROM a"])
def test_wrong_directives_are_refused(text):
    with pytest.raises(Invalid, match=r"^Dockerfile:\d: "):
        parse_dockerfile(text)


def test_json_form_or_plain_text():
    text = 'FROM a\nCMD ["/x", "a b"]\nCMD [not json]\nCOPY ["a b", "/c"]\nENTRYPOINT ["a", 1]\n'
    steps = parse_dockerfile(text).instructions[1:]
    assert [s.is_json for s in steps] == [True, False, True, False]
    assert steps[0].words == ["/x", "a b"]
    assert steps[2].words == ["a b", "/c"]


def test_flags():
    step = parse_dockerfile(
        "FROM --platform=wasi/wasm a AS b\nCOPY --link --from=x --chmod=755 a b\n"
    ).instructions
    assert (step[0].flags, step[0].words) == ({"platform": "wasi/wasm"}, ["a", "AS", "b"])
    assert step[1].flags == {"link": "", "from": "x", "chmod": "755"}


@pytest.mark.parametrize("flag", ["--from", "--unknown=1", "--from=a --from=b"])
def test_wrong_flags_are_refused(flag):
    with pytest.raises(SampanError, match=r"^Dockerfile:2: "):
        parse_dockerfile(f"FROM a\nCOPY {flag} a b\n")


def test_here_documents_are_not_read_as_instructions():
    steps = parse_dockerfile(
        "FROM a\nCOPY <<EOF <<-'X' /d/\nRUN x\nEOF\n\tFROM b\n\tX\nUSER u\n"
    ).instructions
    assert [(d.name, d.body, d.expand) for d in steps[1].documents] == [
        ("EOF", "RUN x\n", True),
        ("X", "FROM b\n", False),
    ]
    assert (steps[2].line, steps[2].name) == (7, "USER")


def test_a_path_is_named_in_errors():
    with pytest.raises(Unimplemented, match=r"^sub/Containerfile:2: RUN"):
        parse_dockerfile("FROM a\nRUN x\n", "sub/Containerfile")


def test_a_huge_file_is_refused():
    with pytest.raises(Exhausted):
        parse_dockerfile("#" * (1 << 20) + "\n")


@given(
    st.lists(
        st.sampled_from(
            ["FROM a", "COPY", "ENV A=1", "\\", "<<E", "E", '["', "# x", "--from=", "\t", "'", "\n"]
        )
    )
)
def test_any_text_is_parsed_or_refused(parts):
    try:
        steps = parse_dockerfile(" ".join(parts)).instructions
    except SampanError:
        return
    assert steps and all(s.line >= 1 and s.name.isupper() for s in steps)


@given(st.text(max_size=200))
def test_any_characters_are_parsed_or_refused(text):
    try:
        parse_dockerfile("FROM scratch\n" + text)
    except SampanError as error:
        assert "Dockerfile" in error.message
