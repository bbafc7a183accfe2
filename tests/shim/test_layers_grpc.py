"""gRPC over a socket, against servers that say what they are told: good answers in any pieces, and bad ones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded, WindowUpdated
from h2.exceptions import ProtocolError
from hypothesis import given
from hypothesis import strategies as st

from sampan.doors.shim.layers_grpc import (
    INTERNAL,
    MOST_MESSAGE,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Channel,
    Refused,
    _complete,
)

GOOD = [("grpc-status", "0")]
OPEN = [(":status", "200"), ("content-type", "application/grpc")]
Answer = Callable[[H2Connection, int], None]


class Server:
    """Takes one connection, and answers each of its calls in the same way. `seen`: the headers of the calls."""

    def __init__(self, address: str, answer: Answer) -> None:
        self.seen: list[dict[str, str]] = []
        self._answer = answer
        self._left = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(address)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def send(self, connection: H2Connection, stream: int, data: bytes) -> None:
        """Sends as much as the client's windows take; the rest follows when they grow."""
        self._left = data
        self._push(connection, stream)

    def join(self) -> None:
        self._thread.join()
        self._socket.close()

    def _push(self, connection: H2Connection, stream: int) -> None:
        while self._left and (room := connection.local_flow_control_window(stream)):
            size = min(room, connection.max_outbound_frame_size, len(self._left))
            connection.send_data(stream, self._left[:size])
            self._left = self._left[size:]
            if not self._left:
                connection.send_headers(stream, GOOD, end_stream=True)

    def _serve(self) -> None:
        peer, _ = self._socket.accept()
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        with peer:
            peer.sendall(connection.data_to_send())
            try:
                while data := peer.recv(65536):
                    for event in connection.receive_data(data):
                        if isinstance(event, RequestReceived):
                            self.seen.append(dict(event.headers))  # type: ignore[arg-type]
                        elif isinstance(event, StreamEnded):
                            self._answer(connection, event.stream_id)
                        elif isinstance(event, WindowUpdated) and event.stream_id:
                            self._push(connection, event.stream_id)
                    peer.sendall(connection.data_to_send())
            except (OSError, ProtocolError):  # the client has had enough, or speaks on behind our goaway
                pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Answer], tuple[Server, Channel]]]:
    made: list[tuple[Server, Channel]] = []

    def serve(answer: Answer) -> tuple[Server, Channel]:
        server = Server(f"{tmp_path}/s", answer)
        made.append((server, Channel(f"{tmp_path}/s", 5)))
        return made[-1]

    yield serve
    for server, channel in made:
        channel.close()
        server.join()


Serve = Callable[[Answer], tuple[Server, Channel]]


def framed(*messages: bytes) -> bytes:
    return b"".join(b"\0" + len(message).to_bytes(4) + message for message in messages)


def answering(data: bytes, *trailers: tuple[str, str]) -> Answer:
    def answer(connection: H2Connection, stream: int) -> None:
        connection.send_headers(stream, OPEN)
        connection.send_data(stream, data)
        connection.send_headers(stream, list(trailers) or GOOD, end_stream=True)

    return answer


def test_answers_come_as_they_were_sent(serve: Serve) -> None:
    server, channel = serve(answering(framed(b"one", b"", b"three")))
    for _ in range(2):
        assert list(channel.call("/service/Method", b"question", {"containerd-namespace": "n"})) == [
            b"one",
            b"",
            b"three",
        ]
    assert [call[":path"] for call in server.seen] == ["/service/Method"] * 2
    assert server.seen[0]["containerd-namespace"] == "n"
    assert server.seen[0]["te"] == "trailers"


def test_more_than_all_windows_hold_arrives(serve: Serve) -> None:
    data = bytes(range(256)) * (20 << 10)

    def answer(connection: H2Connection, stream: int) -> None:
        connection.send_headers(stream, OPEN)
        server.send(connection, stream, framed(data, b"end"))

    server, channel = serve(answer)
    assert list(channel.call("/service/Method", b"", {})) == [data, b"end"]


def test_a_status_is_told_with_its_words(serve: Serve) -> None:
    def answer(connection: H2Connection, stream: int) -> None:
        connection.send_headers(
            stream, [*OPEN, ("grpc-status", "5"), ("grpc-message", "no such thing: a%20b")], end_stream=True
        )

    _, channel = serve(answer)
    with pytest.raises(Refused, match="no such thing: a b") as caught:
        list(channel.call("/service/Method", b"", {}))
    assert caught.value.status == NOT_FOUND


def reset(connection: H2Connection, stream: int) -> None:
    connection.reset_stream(stream, 7)


def go_away(connection: H2Connection, _: int) -> None:
    connection.close_connection()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (answering(b"\1" + framed(b"packed")[1:]), RESOURCE_EXHAUSTED, "a compressed one"),
        (answering(b"\0\xff\xff\xff\xff"), RESOURCE_EXHAUSTED, "a message of 4294967295 bytes"),
        (
            answering(b"\0" + (MOST_MESSAGE + 1).to_bytes(4)),
            RESOURCE_EXHAUSTED,
            "a message of 16777217 bytes",
        ),
        (answering(framed(b"whole", b"cut")[:-1]), INTERNAL, "its last message is cut off"),
        (answering(framed(b"x"), ("x-other", "1")), INTERNAL, "HTTP's status 200 and none of gRPC's"),
        (answering(framed(b"x"), ("grpc-status", "-1")), INTERNAL, "none of gRPC's"),
        (reset, UNAVAILABLE, "HTTP/2's code"),
        (go_away, UNAVAILABLE, "it ends the connection"),
    ],
    ids=["compressed", "huge", "too-large", "cut", "no-status", "bad-status", "reset", "goaway"],
)
def test_bad_answers_are_refused(serve: Serve, answer: Answer, status: int, words: str) -> None:
    _, channel = serve(answer)
    with pytest.raises(Refused, match=words) as caught:
        list(channel.call("/service/Method", b"", {}))
    assert caught.value.status == status


SETTINGS_OF_THREE_BYTES = b"\0\0\3\4\0\0\0\0\0abc"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", UNAVAILABLE),
        (b"", UNAVAILABLE),
        (SETTINGS_OF_THREE_BYTES, INTERNAL),
    ],
    ids=["http1", "closed", "malformed"],
)
def test_who_speaks_no_http2_is_refused(tmp_path: Path, said: bytes, status: int) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/s")
        server.listen()
        channel = Channel(f"{tmp_path}/s", 5)
        peer, _ = server.accept()
        with peer:
            peer.sendall(said)
            peer.shutdown(socket.SHUT_WR)
            with pytest.raises(Refused) as caught:
                list(channel.call("/service/Method", b"", {}))
        channel.close()
    assert caught.value.status == status


def test_who_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/s")
        server.listen()
        channel = Channel(f"{tmp_path}/s", 0.1)
        with pytest.raises(TimeoutError):
            list(channel.call("/service/Method", b"", {}))
        channel.close()


@given(st.lists(st.binary(max_size=50)), st.data())
def test_messages_are_whole_in_whatever_pieces_they_come(messages: list[bytes], data: st.DataObject) -> None:
    whole, buffer, read = framed(*messages), bytearray(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        buffer += whole[:size]
        whole = whole[size:]
        read += list(_complete(buffer))
    assert read == messages
    assert not buffer
