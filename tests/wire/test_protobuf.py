"""The codec against messages written by hand, against every mutation, and against the format's own rules; row S6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.core.record import Record
from sampan.wire.protobuf import (
    BOOL,
    BYTES,
    INT32,
    INT64,
    STRING,
    UINT32,
    UINT64,
    Message,
    by_number,
    field,
    message,
    read_varint,
    repeated,
    write_varint,
)


class Inner(Message):
    text: str = field(1, STRING)
    number: int = field(2, UINT64)


class Tree(Message):
    below: list[Message] = []
    name: str = field(2, STRING)


Tree._by_number[1] = ("below", repeated(message(Tree)))


class All(Message):
    text: str = field(1, STRING)
    blob: bytes = field(2, BYTES)
    flag: bool = field(3, BOOL)
    small: int = field(4, UINT32)
    large: int = field(5, UINT64)
    signed: int = field(6, INT32)
    wide: int = field(7, INT64)
    inner: Inner | None = field(8, message(Inner))
    texts: list[str] = field(9, repeated(STRING))
    numbers: list[int] = field(10, repeated(UINT64))
    inners: list[Inner] = field(11, repeated(message(Inner)))


TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
INNER = st.builds(Inner, TEXT, st.integers(0, 2**64 - 1))
ALL = st.builds(
    All,
    TEXT,
    st.binary(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | INNER,
    st.lists(TEXT),
    st.lists(st.integers(0, 2**64 - 1)),
    st.lists(INNER),
)


def test_it_writes_what_the_format_says():
    wanted = b"\x0a\x02hi\x20\xac\x02\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x42\x02\x10\x01"
    given = All(text="hi", small=300, signed=-1, inner=Inner(number=1))
    assert given.encode() == wanted
    assert All.decode(wanted) == given
    assert All().encode() == b""


def test_a_field_that_comes_twice_counts_the_last_time_and_messages_are_independent():
    assert All.decode(b"\x20\x01\x20\x02").small == 2
    first = All.decode(b"\x4a\x01a")
    assert (first.texts, All().texts) == (["a"], [])


def test_numbers_come_packed_or_one_by_one():
    assert All.decode(b"\x52\x03\x01\xac\x02\x50\x05").numbers == [1, 300, 5]
    assert All(numbers=[1, 300]).encode() == b"\x52\x03\x01\xac\x02"


@given(ALL)
def test_what_is_written_is_read_again(value):
    assert All.decode(value.encode()) == value


@given(ALL, st.integers(20, 1000), st.binary(max_size=20))
def test_S6_unknown_fields_of_every_wire_type_are_skipped(value, number, data):
    unknown = (
        write_varint(number << 3) + b"\x05"
        + write_varint(number << 3 | 1) + b"12345678"
        + write_varint(number << 3 | 2) + write_varint(len(data)) + data
        + write_varint(number << 3 | 5) + b"1234"
    )  # fmt: skip
    assert All.decode(unknown + value.encode()) == value


@given(st.binary(max_size=200))
def test_S6_any_bytes_are_a_message_or_invalid(data):
    try:
        All.decode(data)
    except Invalid:
        pass


@given(ALL, st.data())
def test_S6_a_message_that_is_cut_is_a_shorter_one_or_invalid(value, data):
    encoded = value.encode()
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    try:
        assert len(All.decode(cut).texts) <= len(value.texts)
    except Invalid:
        pass


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a\x05hi", "cut off"),
        (b"\x0a", "cut off"),
        (b"\x20\x80", "cut off"),
        (b"\x20" + b"\x80" * 9 + b"\x80\x01", "64 bits"),
        (b"\x08\x01", "All.text: it has the wire type 0"),
        (b"\x0a\x01\xff", "not UTF-8"),
        (b"\x03\x04", "not the number"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0e", "wire type 6"),
        (b"\x42\x02\x08\x01", "All.inner: Inner.text"),
        (b"\x09\x01\x02", "cut off"),
    ],
)
def test_S6_malformed_is_invalid_and_named(data, words):
    with pytest.raises(Invalid, match=words):
        All.decode(data)


def test_S6_nesting_has_an_end():
    data = b""
    for _ in range(1000):
        data = b"\x0a" + write_varint(len(data)) + data
    with pytest.raises(Invalid, match="nested"):
        Tree.decode(data)


@given(st.integers(0, 2**64 - 1))
def test_a_number_is_written_and_read(number):
    data = write_varint(number)
    assert read_varint(data, 0) == (number, len(data))


def test_text_that_no_message_can_hold_is_written_all_the_same():
    assert All(text="a\udcff").encode() == b"\x0a\x02a?"


def test_messages_are_records_whose_types_can_be_worked_out_before_a_fork():
    Record.prepare_all()
    assert Inner(text="a").replace(number=2) == Inner("a", 2)


def test_by_number_a_message_is_there_even_with_nothing_in_it():
    """Docker reads the CPU's throttling of its containers without a look whether there is any."""
    assert by_number({1: by_number({1: 0, 2: ""}), 2: [b"", b"a"], 3: []}) == b"\x0a\x00\x12\x00\x12\x01a"
