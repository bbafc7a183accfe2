"""JSON from strangers: rows R9, R12, R13, R14."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core import strictjson
from sampan.core.errors import Exhausted, Invalid, SampanError

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(TREES)
def test_what_the_standard_library_writes_is_read_the_same(value):
    assert strictjson.loads(json.dumps(value).encode()) == value


@given(TREES)
def test_what_we_write_the_standard_library_reads_the_same(value):
    assert json.loads(strictjson.dumps(value)) == value


@given(st.binary(max_size=200))
def test_R14_any_bytes_give_a_value_or_an_error_of_ours(data):
    try:
        strictjson.loads(data)
    except SampanError:
        pass


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '[{"x":{"b":1,"c":2,"b":1}}]'])
def test_R9_a_repeated_key_is_refused(text):
    with pytest.raises(Invalid, match="stands twice"):
        strictjson.loads(text.encode())


@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]", "[-Infinity]", "[1e999]", "-1e999"])
def test_R12_numbers_that_are_not_json_are_refused(text):
    with pytest.raises(Invalid):
        strictjson.loads(text.encode())


@pytest.mark.parametrize("text", ["[" * 200_000 + "]" * 200_000, "[" * 65 + "]" * 65, "9" * 5000])
def test_R13_deep_nesting_and_giant_integers_are_refused(text):
    with pytest.raises(Invalid):
        strictjson.loads(text.encode())


def test_R13_nesting_up_to_the_bound_is_read():
    assert strictjson.loads(b"[" * 63 + b"]" * 63)


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b'"\xff"', b'"\\ud800"', b'{"\\udfff":1}'],
    ids=["bom", "utf16", "bad-utf8", "surrogate", "surrogate-key"],
)
def test_R14_other_encodings_and_lone_surrogates_are_refused(data):
    with pytest.raises(Invalid):
        strictjson.loads(data)


@pytest.mark.parametrize("text", ["", " ", "{", '{"a"', "[1,]", "[1] 2", "{'a':1}", "tru", '"\n"'])
def test_broken_json_is_refused_with_one_sentence(text):
    with pytest.raises(Invalid, match=r"^the manifest"):
        strictjson.loads(text.encode(), what="the manifest")


def test_R4_more_than_the_limit_is_refused_before_parsing():
    with pytest.raises(Exhausted):
        strictjson.loads(b" " * 101, limit=100)
