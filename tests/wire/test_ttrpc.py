"""Framing, in all the pieces that a stream may come in; rows S1 and S2 without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Exhausted, Internal, Invalid, NotFound, Precondition
from sampan.wire import ttrpc
from sampan.wire.ttrpc import Decoder, Frame

FRAMES = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary(max_size=300)), max_size=6
)


@given(FRAMES, st.integers(1, 50))
def test_frames_come_out_however_their_bytes_come_in(frames, size):
    data = b"".join(ttrpc.encode(*frame) for frame in frames)
    decoder = Decoder()
    seen = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
    assert seen == [Frame(stream, kind, 0, body) for stream, kind, body in frames]
    assert not decoder.waiting


def test_S1_a_frame_that_is_too_long_is_skipped_and_told():
    decoder = Decoder()
    length = ttrpc.MAX_DATA + 1
    assert list(decoder.feed(length.to_bytes(4, "big") + b"\0\0\0\5\1\0")) == []
    for _ in range(4):
        assert list(decoder.feed(bytes(1 << 20))) == []
        assert len(decoder._buffer) == 0
    after = b"x" + ttrpc.request(7, "s", "m", b"")
    frames = list(decoder.feed(after))
    assert [(frame.stream, frame.data is None) for frame in frames] == [(5, True), (7, False)]


def test_S1_the_longest_frame_is_taken():
    (frame,) = Decoder().feed(ttrpc.encode(1, 1, bytes(ttrpc.MAX_DATA)))
    assert frame.data == bytes(ttrpc.MAX_DATA)


def test_S2_a_length_without_data_keeps_nothing():
    decoder = Decoder()
    assert list(decoder.feed(b"\xff\xff\xff\xff\0\0\0\1\1\0")) == []
    assert decoder.waiting


def test_a_request_and_its_answers():
    (frame,) = Decoder().feed(ttrpc.request(3, "service", "Method", b"payload", 5))
    assert (frame.stream, frame.type) == (3, ttrpc.REQUEST)
    assert frame.data is not None
    assert ttrpc.Request.decode(frame.data) == ttrpc.Request("service", "Method", b"payload", 5)
    (frame,) = Decoder().feed(ttrpc.answer(3, b"result"))
    assert (frame.type, ttrpc.read_answer(frame.data)) == (ttrpc.RESPONSE, b"result")


@pytest.mark.parametrize("kind", [NotFound, Precondition, Invalid])
def test_an_error_crosses_with_its_kind(kind):
    (frame,) = Decoder().feed(ttrpc.refusal(3, kind("no such task", fix="make one")))
    with pytest.raises(kind, match="no such task; make one"):
        ttrpc.read_answer(frame.data)


def test_a_code_that_nobody_knows_is_an_error_too():
    data = ttrpc.Response(ttrpc.Status(99, "odd"), b"").encode()
    with pytest.raises(Internal, match="odd"):
        ttrpc.read_answer(data)


def test_an_answer_that_is_too_long_is_not_sent():
    with pytest.raises(Exhausted):
        ttrpc.answer(1, bytes(ttrpc.MAX_DATA))
