"""WebSocket's frames in all the pieces that they may come in, and those that no good client sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Exhausted, Invalid, SampanError
from sampan.wire import websocket
from sampan.wire.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Closed, Decoder, Message

from .peers import masked, unframed


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.binary(max_size=300), min_size=1, max_size=3)), max_size=5),
    st.integers(1, 50),
)
def test_messages_come_out_however_their_frames_come_in(messages, size):
    sent = b""
    for text, parts in messages:
        for at, part in enumerate(parts):
            opcode = CONTINUATION if at else TEXT if text else BINARY
            sent += masked(opcode, part, final=at == len(parts) - 1)
            sent += masked(PONG, b"between")
    decoder = Decoder()
    seen = [event for at in range(0, len(sent), size) for event in decoder.feed(sent[at : at + size])]
    assert seen == [Message(b"".join(parts), text) for text, parts in messages]
    assert not decoder.outgoing


def test_the_specifications_examples():
    """RFC 6455 §5.7."""
    (event,) = Decoder().feed(bytes.fromhex("818537fa213d7f9f4d5158"))
    assert event == Message(b"Hello", True)
    assert websocket.encode(BINARY, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert websocket.encode(BINARY, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")


@given(st.binary(max_size=70_000))
def test_a_frame_of_ours_says_its_length(payload):
    assert unframed(websocket.encode(BINARY, payload)) == ([(BINARY, payload)], b"")


def test_a_ping_is_answered_with_what_it_says():
    decoder = Decoder()
    assert list(decoder.feed(masked(PING, b"are you there"))) == []
    assert unframed(bytes(decoder.outgoing))[0] == [(PONG, b"are you there")]


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8bye", 1000)])
def test_a_close_is_answered(payload, code):
    decoder = Decoder()
    assert list(decoder.feed(masked(CLOSE, payload))) == [Closed(code)]
    assert unframed(bytes(decoder.outgoing))[0] == [(CLOSE, payload[:2])]


def test_K1_a_message_that_is_too_long_is_refused_before_it_is_kept():
    decoder = Decoder()
    with pytest.raises(Exhausted):
        list(decoder.feed(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)))
    assert unframed(bytes(decoder.outgoing))[0] == [(CLOSE, (1009).to_bytes(2, "big"))]


def test_K1_endless_fragments_are_refused():
    decoder = Decoder()
    list(decoder.feed(masked(BINARY, bytes(1 << 16), final=False, mask=bytes(4))))
    with pytest.raises(Exhausted):
        for _ in range(16):
            list(decoder.feed(masked(CONTINUATION, bytes(1 << 16), final=False, mask=bytes(4))))


@pytest.mark.parametrize(
    "frames",
    [
        websocket.encode(BINARY, b"not masked"),
        b"\xc2" + masked(BINARY, b"reserved bit")[1:],
        masked(3, b"unknown"),
        masked(11, b"unknown control"),
        masked(PING, bytes(126)),
        masked(PING, b"", final=False),
        masked(CONTINUATION, b"of nothing"),
        masked(BINARY, b"first", final=False) + masked(BINARY, b"second"),
        masked(CLOSE, b"\3"),
    ],
    ids=[  # their masks are random
        "not-masked", "reserved-bit", "unknown", "unknown-control", "long-control", "control-in-pieces",
        "continuation-of-nothing", "two-messages-at-once", "half-a-code",
    ],
)  # fmt: skip
def test_what_no_client_may_send_ends_the_connection(frames):
    decoder = Decoder()
    with pytest.raises(Invalid):
        list(decoder.feed(frames))
    assert unframed(bytes(decoder.outgoing))[0][-1] == (CLOSE, (1002).to_bytes(2, "big"))


@given(st.binary(max_size=400))
def test_garbage_is_never_more_than_an_error(garbage):
    try:
        list(Decoder().feed(garbage))
    except SampanError:
        pass
