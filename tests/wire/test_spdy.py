"""SPDY's frames in all the pieces that they may come in, and those that no good client sends."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Exhausted, Invalid, SampanError
from sampan.wire import spdy
from sampan.wire.spdy import Connection, GoneAway, Opened, Reset

from .peers import SpdyPeer, control, data


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def heard(connection: Connection, peer: SpdyPeer) -> list[tuple[object, ...]]:
    said = bytes(connection.outgoing)
    connection.outgoing.clear()
    return peer.feed(said)


def test_the_dictionary_is_the_specifications():
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_a_stream_as_kubectl_opens_it():
    """The bytes of a SYN_STREAM that k8s.io/client-go sent for the error stream of an exec."""
    frame = bytes.fromhex(
        "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff"
    )
    (opened,) = Connection().feed(frame)
    assert opened == Opened(1, {"streamtype": "error"})


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=8), st.integers(1, 40))
def test_data_comes_out_however_its_frames_come_in(parts, size):
    peer, connection = SpdyPeer(), Connection()
    sent = peer.open(1, streamType="a") + peer.open(3, streamType="b")
    for second, content in parts:
        sent += data(3 if second else 1, content)
    sent += data(1, b"", end=True) + data(3, b"the last", end=True)
    events = [event for at in range(0, len(sent), size) for event in connection.feed(sent[at : at + size])]
    assert events[:2] == [Opened(1, {"streamtype": "a"}), Opened(3, {"streamtype": "b"})]
    for stream, last in ((1, b""), (3, b"the last")):
        own = [event for event in events[2:] if event.stream == stream]
        assert (
            b"".join(event.data for event in own)
            == b"".join(c for s, c in parts if s == (stream == 3)) + last
        )
        assert [event.ended for event in own] == [False] * (len(own) - 1) + [True]


def test_a_stream_is_accepted_written_to_and_ended():
    peer, connection = SpdyPeer(), Connection()
    list(connection.feed(peer.open(1, streamType="stdout")))
    connection.reply(1)
    connection.send(1, b"hello")
    connection.send(1, b"", end=True)
    connection.send(1, b"nobody hears this")
    assert heard(connection, peer) == [
        (spdy.SYN_REPLY, 1, b""),
        ("data", 1, 0, b"hello"),
        ("data", 1, spdy.FIN, b""),
    ]
    assert connection.is_open(1)
    list(connection.feed(data(1, b"", end=True)))
    assert not connection.is_open(1)


def test_more_than_a_frame_holds_goes_out_in_several():
    peer, connection = SpdyPeer(), Connection()
    list(connection.feed(peer.open(1)))
    connection.send(1, bytes(spdy.MOST_DATA + 5), end=True)
    assert [(flags, len(body)) for _, _, flags, body in heard(connection, peer)] == [
        (0, spdy.MOST_DATA),
        (1, 5),
    ]


def test_a_ping_is_answered_and_an_answer_is_not():
    peer, connection = SpdyPeer(), Connection()
    assert list(connection.feed(control(spdy.PING, number(7)) + control(spdy.PING, number(2)))) == []
    assert heard(connection, peer) == [(spdy.PING, 7, b"")]


def test_what_was_taken_opens_the_window_again():
    peer, connection = SpdyPeer(), Connection()
    list(connection.feed(peer.open(1) + data(1, b"12345")))
    connection.taken(1, 5)
    assert heard(connection, peer) == [(spdy.WINDOW_UPDATE, 1, number(5)), (spdy.WINDOW_UPDATE, 0, number(5))]


def test_either_side_may_give_a_stream_up():
    peer, connection = SpdyPeer(), Connection()
    list(connection.feed(peer.open(1) + peer.open(3)))
    (event,) = connection.feed(control(spdy.RST_STREAM, number(1) + number(5)))
    assert event == Reset(1)
    connection.reset(3)
    connection.reset(3)
    assert heard(connection, peer) == [(spdy.RST_STREAM, 3, number(spdy.CANCEL))]
    assert list(connection.feed(data(1, b"late") + data(3, b"late"))) == []


def test_what_is_not_for_us_is_passed_over():
    connection = Connection()
    frames = control(spdy.SETTINGS, bytes(12)) + control(spdy.WINDOW_UPDATE, bytes(8)) + control(200, b"new")
    assert list(connection.feed(frames + control(spdy.GOAWAY, bytes(8)))) == [GoneAway()]


def test_headers_that_come_later_keep_the_compression_in_step():
    peer, connection = SpdyPeer(), Connection()
    list(connection.feed(peer.open(1, first="1")))
    more = peer.open_raw(1, number(1) + number(1) + b"a" + number(1) + b"b")
    list(connection.feed(control(spdy.HEADERS, number(1) + more[18:])))
    assert list(connection.feed(peer.open(3, second="2"))) == [Opened(3, {"second": "2"})]


def test_K1_a_frame_that_is_too_large_is_refused_before_it_is_kept():
    connection = Connection()
    with pytest.raises(Exhausted, match="control frame has 16777215 bytes"):
        list(connection.feed(b"\x80\x03\0\1\0\xff\xff\xff" + bytes(100)))
    assert SpdyPeer().feed(bytes(connection.outgoing)) == [(spdy.GOAWAY, 0, number(spdy.PROTOCOL_ERROR))]


def test_K1_the_largest_data_frame_is_never_kept():
    peer, connection = SpdyPeer(), Connection()
    list(connection.feed(peer.open(1) + b"\0\0\0\1\1\xff\xff\xff"))
    size = 0
    for _ in range(255):
        (event,) = connection.feed(bytes(1 << 16))
        assert not event.ended
        assert not connection._buffer
        size += len(event.data)
    (event,) = connection.feed(bytes((1 << 16) - 1))
    assert (size + len(event.data), event.ended) == (spdy.MOST_DATA, True)


def test_K1_headers_that_inflate_to_much_more_are_refused():
    peer, connection = SpdyPeer(), Connection()
    plain = number(1) + number(1) + b"a" + number(10 << 20) + bytes(10 << 20)
    with pytest.raises(Exhausted, match="headers"):
        list(connection.feed(peer.open_raw(1, plain)))


def test_K1_streams_beyond_the_most_are_refused_and_the_connection_goes_on():
    peer, connection = SpdyPeer(), Connection()
    opened = 0
    for at in range(spdy.MOST_STREAMS + 5):
        opened += len(list(connection.feed(peer.open(2 * at + 1))))
    assert opened == spdy.MOST_STREAMS
    assert [(kind, body) for kind, _, body in heard(connection, peer)] == [
        (spdy.RST_STREAM, number(spdy.REFUSED_STREAM))
    ] * 5
    connection.reset(1)
    assert len(list(connection.feed(peer.open(99_999)))) == 1


def test_K1_rapid_resets_leave_nothing():
    peer, connection = SpdyPeer(), Connection()
    for at in range(5000):
        list(
            connection.feed(peer.open(2 * at + 1) + control(spdy.RST_STREAM, number(2 * at + 1) + number(5)))
        )
    assert not connection._receiving and not connection._sending and not connection._buffer


@pytest.mark.parametrize(
    "frames",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        control(spdy.SYN_STREAM, b"\0\0"),
        control(spdy.SYN_STREAM, number(1) + bytes(6) + b"no zlib"),
        control(spdy.RST_STREAM, b""),
        control(spdy.PING, b"\1"),
        control(spdy.PING, number(1), version=2),
        data(5, b"never opened"),
        SpdyPeer().open(2),
        SpdyPeer().open_raw(1, number(3)),
        SpdyPeer().open_raw(1, number(1) + number(1 << 30)),
        SpdyPeer().open(5)[:8] + number(0),
    ],
)
def test_what_no_client_may_send_ends_the_connection(frames):
    connection = Connection()
    with pytest.raises(Invalid):
        list(connection.feed(frames + bytes(64)))
    assert (spdy.GOAWAY, 0, number(spdy.PROTOCOL_ERROR)) in SpdyPeer().feed(bytes(connection.outgoing))


def test_a_stream_must_be_newer_than_the_last():
    peer, connection = SpdyPeer(), Connection()
    list(connection.feed(peer.open(3)))
    with pytest.raises(Invalid, match="opens the stream 1 after 3"):
        list(connection.feed(peer.open(1)))


@given(st.binary(max_size=400))
def test_garbage_is_never_more_than_an_error(garbage):
    connection = Connection()
    list(connection.feed(SpdyPeer().open(1)))
    try:
        list(connection.feed(garbage))
    except SampanError:
        pass
