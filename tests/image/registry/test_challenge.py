"""The challenge parser: what real servers send, what hostile ones do, and everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Unauthenticated
from sampan.image.registry.challenge import Challenge, parse_challenges

TOKEN = st.text("abcXYZ019-._~", min_size=1, max_size=8)
QUOTED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ('Basic realm="a b"', [("basic", {"realm": "a b"})]),
        (
            'Bearer realm="https://a.example/token",service="r",scope="repository:x:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://a.example/token", "service": "r", "scope": "repository:x:pull,push"},
                )
            ],
        ),
        ('Bearer realm = "x" , service = y', [("bearer", {"realm": "x", "service": "y"})]),
        ('Basic realm="r", Bearer realm="t"', [("basic", {"realm": "r"}), ("bearer", {"realm": "t"})]),
        ('Negotiate, Basic realm="r"', [("negotiate", {}), ("basic", {"realm": "r"})]),
        ('Negotiate YII/abc==, Basic realm="r"', [("negotiate", {}), ("basic", {"realm": "r"})]),
        (r'Basic realm="a\"b\\c, d"', [("basic", {"realm": 'a"b\\c, d'})]),
        ("Bearer realm=", [("bearer", {})]),  # by the grammar, credentials that stand alone
        (", ,Basic realm=x,,", [("basic", {"realm": "x"})]),
        ("", []),
    ],
)
def test_challenges_are_read(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == [Challenge(*one) for one in expected]


@pytest.mark.parametrize(
    "header",
    [
        'Bearer realm="open',
        'realm="x"',
        'Bearer realm="x",realm="y"',
        'Bearer realm="x\r\ny"',
        'Bearer service="a\nb"',
        "Bearer @=x",
        'Bearer realm="é"',
        "Basic " + "a=b," * 4000,
    ],
)
def test_R17_malformed_challenges_are_refused(header: str) -> None:
    with pytest.raises(Unauthenticated):
        parse_challenges(header)


@given(
    st.lists(
        st.tuples(TOKEN, st.dictionaries(TOKEN.map(str.lower), QUOTED, min_size=1, max_size=4)), max_size=3
    )
)
def test_what_is_written_is_read(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{k}={quoted(v)}" for k, v in parameters.items())
        for scheme, parameters in challenges
    )
    assert parse_challenges(header) == [Challenge(s.lower(), p) for s, p in challenges]


@given(st.text(max_size=200))
def test_anything_is_read_or_refused(header: str) -> None:
    try:
        challenges = parse_challenges(header)
    except Unauthenticated:
        return
    assert all(c.scheme for c in challenges)
