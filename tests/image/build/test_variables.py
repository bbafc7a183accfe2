"""Variables and words, as Docker expands and splits them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.image.build.variables import expand, split_words

VALUES = {"X": "ex", "EMPTY": "", "A_1": "under"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$X", "ex"),
        ("${X}y", "exy"),
        ("$Xy", ""),
        ("$A_1.", "under."),
        ("$MISSING-", "-"),
        ("${MISSING:-d}", "d"),
        ("${MISSING:-$X}", "ex"),
        ("${MISSING:-${EMPTY:-deep}}", "deep"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${MISSING-d}", "d"),
        ("${X:+alt}", "alt"),
        ("${EMPTY:+alt}", ""),
        ("${EMPTY+alt}", "alt"),
        ("${MISSING+alt}", ""),
        ("${X:?no}", "ex"),
        (r"\$X", "$X"),
        (r"a\b", "ab"),
        ("'$X'", "$X"),
        ('"$X y"', "ex y"),
        (r'"\$X \" \n"', r'$X " \n'),
        ("a'b'c", "abc"),
        ("$", "$"),
        ("5$", "5$"),
        ("$1x", "x"),
    ],
)
def test_expansion(text, result):
    assert expand(text, VALUES) == result


def test_another_escape_character():
    assert expand("`$X C:\\dir", VALUES, "`") == "$X C:\\dir"


def test_quotes_can_be_kept():
    assert expand("'$X' \"q\" \\$X \\n", VALUES, keep_quotes=True) == "'ex' \"q\" $X \\n"


@pytest.mark.parametrize(
    "text", ["'a", '"a', "${X", "${}", "${X#a}", "${X%a}", "${X/a/b}", "${X::-a}", "${M:?why}", "${X:}"]
)
def test_what_cannot_be_expanded_is_refused(text):
    with pytest.raises(Invalid):
        expand(text, VALUES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  a  b\tc ", ["a", "b", "c"]),
        ('a="b c" d', ['a="b c"', "d"]),
        ("a='b c'd e", ["a='b c'd", "e"]),
        (r"a\ b c", [r"a\ b", "c"]),
        (r'"a\" b" c', [r'"a\" b"', "c"]),
        (r"'a\' b", [r"'a\'", "b"]),
    ],
)
def test_splitting(text, words):
    assert split_words(text) == words


@given(st.text(alphabet="$X{}:-+?'\"\\ a", max_size=40))
def test_any_text_expands_or_is_refused(text):
    try:
        assert isinstance(expand(text, VALUES), str)
    except Invalid as error:
        assert "cannot expand" in error.message


@given(st.text(alphabet="abc $", max_size=40).filter(lambda t: "$" not in t))
def test_text_without_marks_stays(text):
    assert expand(text, VALUES) == text
