"""gRPC calls over a Unix socket, one after the other: HTTP/2 by h2, without threads.

The common library takes twice as long to import as all the rest of a look-up, and has threads. What is here is what
containerd's services need: one request, any number of answers, no compression. grpc/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import _socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from h2.events import Event

DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 4, 5, 7, 8
INTERNAL, UNAVAILABLE, DATA_LOSS = 13, 14, 15
"""Statuses, as grpc/doc/statuscodes.md numbers them."""

MOST_MESSAGE = 16 << 20  # containerd's own limit
_PREFIX = 5  # a byte that says "compressed", and the length
_WINDOW = 1 << 20


class Refused(Exception):
    """A call that did not end well: gRPC's status, and the server's words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Channel:
    """A connection to a server.

    Args:
        address: the socket's path. seconds: the most to wait for each thing that the server sends.

    Raises:
        OSError: it cannot be reached.
    """

    def __init__(self, address: str, seconds: float) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        try:
            self._socket.connect(address)
        except BaseException:
            self._socket.close()
            raise
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(_WINDOW)

    def close(self) -> None:
        """Ends the connection, and with it a call that has not ended."""
        self._socket.close()

    def call(self, path: str, request: bytes, metadata: Mapping[str, str]) -> Iterator[bytes]:
        """The server's answers to a call, as they come.

        Raises:
            Refused: it did not go well. OSError: the connection is gone, or the server is silent for too long.
        """
        try:
            yield from self._call(path, request, metadata)
        except H2Error as error:
            raise Refused(INTERNAL, f"it does not speak HTTP/2 as it should: {error}") from error

    def _call(self, path: str, request: bytes, metadata: Mapping[str, str]) -> Iterator[bytes]:
        stream = self._connection.get_next_available_stream_id()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
            **metadata,
        }
        self._connection.send_headers(stream, list(headers.items()))
        self._connection.send_data(stream, b"\0" + len(request).to_bytes(4) + request, end_stream=True)
        buffer = bytearray()
        status: dict[str, str] = {}
        while True:
            for event in self._events():
                if isinstance(event, ConnectionTerminated):
                    raise Refused(UNAVAILABLE, "it ends the connection")
                if getattr(event, "stream_id", stream) != stream:
                    continue
                if isinstance(event, DataReceived):
                    self._connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                    buffer += event.data or b""
                    yield from _complete(buffer)
                elif isinstance(event, (ResponseReceived, TrailersReceived)):
                    status.update((str(key), str(value)) for key, value in event.headers or ())
                elif isinstance(event, StreamReset):
                    code = event.error_code
                    refused = code == ErrorCodes.REFUSED_STREAM
                    raise Refused(
                        UNAVAILABLE if refused else INTERNAL, f"it ends the call with HTTP/2's code {code}"
                    )
                elif isinstance(event, StreamEnded):
                    _check(status, bytes(buffer))
                    return

    def _events(self) -> list[Event]:
        """Sends what is to be sent and waits for what comes."""
        self._socket.sendall(self._connection.data_to_send())
        data = self._socket.recv(1 << 18)
        if not data:
            raise Refused(UNAVAILABLE, "it closes the connection")
        return self._connection.receive_data(data)


def _complete(buffer: bytearray) -> Iterator[bytes]:
    """Takes the whole messages off the buffer."""
    while len(buffer) >= _PREFIX:
        size = int.from_bytes(buffer[1:_PREFIX])
        if buffer[0] or size > MOST_MESSAGE:
            raise Refused(RESOURCE_EXHAUSTED, f"it sends a message of {size} bytes, or a compressed one")
        if len(buffer) < _PREFIX + size:
            return
        message = bytes(buffer[_PREFIX : _PREFIX + size])
        del buffer[: _PREFIX + size]
        yield message


def _check(headers: Mapping[str, str], left: bytes) -> None:
    """How a call ended, from the headers behind its answers."""
    from urllib.parse import unquote

    status = headers.get("grpc-status", "")
    if not status.isdigit():
        raise Refused(
            INTERNAL, f"it answers with HTTP's status {headers.get(':status', 'none')} and none of gRPC's"
        )
    if status != "0":
        raise Refused(int(status), unquote(headers.get("grpc-message", "")))
    if left:
        raise Refused(INTERNAL, "its last message is cut off")
