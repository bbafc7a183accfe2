"""`.dockerignore` patterns."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.image.build.ignore import Ignore, match_name


@pytest.mark.parametrize(
    ("rules", "path", "left_out"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "d/a.txt", False),
        ("**/*.txt", "a.txt", True),
        ("**/*.txt", "d/e/a.txt", True),
        ("d", "d/e/a.txt", True),
        ("/d/", "d/x", True),
        ("./d/../e", "e", True),
        ("d/**", "d", True),
        ("d/**", "d/x/y", True),
        ("d/**/z", "d/z", True),
        ("d/**/z", "d/x/y/z", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("*\n!keep", "keep", False),
        ("*\n!keep", "other", True),
        ("d\n!d/keep", "d/keep", False),
        ("d\n!d/keep", "d/drop", True),
        ("!keep\n*", "keep", True),
        ("# d", "# d", False),
        ("  d  ", "d", True),
        (".", "a", False),
        ("*", "a/b", True),
    ],
)
def test_rules(rules, path, left_out):
    assert Ignore(rules).leaves_out(path) is left_out


@pytest.mark.parametrize("rules", ["!", "[a", "a\\"])
def test_wrong_patterns_are_refused(rules):
    with pytest.raises(Invalid):
        Ignore(rules).leaves_out("a")


def test_many_stars_take_no_time():
    assert not match_name("*a" * 40, "a" * 39)
    assert not Ignore("**/a/" * 40 + "b").leaves_out("/".join("a" * 60))


@given(st.text(alphabet="ab*?", max_size=12), st.text(alphabet="ab", max_size=12))
def test_names_match_as_the_same_regular_expression(pattern, name):
    expression = pattern.replace("?", ".").replace("*", ".*")
    assert match_name(pattern, name) is (re.fullmatch(expression, name) is not None)
