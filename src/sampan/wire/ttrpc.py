"""ttrpc: calls over a stream of bytes, many at once. Bytes in, frames out; no I/O, no waiting.

A frame is a header of ten bytes (length, stream id, type, flags; big-endian) and up to 4 MiB of data. A longer one is
skipped as it comes in, never kept, and reported. Streaming calls are not served: containerd's shims have none.
The protocol is github.com/containerd/ttrpc, PROTOCOL.md.
"""

from __future__ import annotations

from sampan.core.errors import KINDS, Exhausted, Internal, SampanError
from sampan.core.record import Record
from sampan.wire.protobuf import BYTES, INT32, INT64, STRING, Message, field, message, repeated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = 10
MAX_DATA = 4 << 20
REQUEST, RESPONSE = 1, 2
CODES: dict[str, int] = {
    "INVALID": 3,
    "TIMEOUT": 4,
    "NOT_FOUND": 5,
    "EXISTS": 6,
    "DENIED": 7,
    "EXHAUSTED": 8,
    "PRECONDITION": 9,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
"""gRPC's code of each kind of error."""
_ERRORS = {code: KINDS[kind] for kind, code in CODES.items()}


class KeyValue(Message):
    key: str = field(1, STRING)
    value: str = field(2, STRING)


class Request(Message):
    """A call. `timeout_nano` is how long the caller will wait, 0 for good."""

    service: str = field(1, STRING)
    method: str = field(2, STRING)
    payload: bytes = field(3, BYTES)
    timeout_nano: int = field(4, INT64)
    metadata: list[KeyValue] = field(5, repeated(message(KeyValue)))


class Status(Message):
    code: int = field(1, INT32)
    message: str = field(2, STRING)


class Response(Message):
    """What a call came to: a payload, or a status with a code that is not 0."""

    status: Status | None = field(1, message(Status))
    payload: bytes = field(2, BYTES)


class Frame(Record):
    """One frame; `data` is None for one that was too long, and was skipped."""

    stream: int
    type: int
    flags: int
    data: bytes | None = b""


class Decoder:
    """Takes the bytes of a connection as they come and gives the frames in them.

    Attributes:
        waiting: whether a frame has begun and is not whole.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping: Frame | None = None
        self._left = 0

    @property
    def waiting(self) -> bool:
        return bool(self._buffer) or self._skipping is not None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes; to be taken to the end."""
        self._buffer += data
        while True:
            if self._skipping is not None:
                passed = min(self._left, len(self._buffer))
                del self._buffer[:passed]
                self._left -= passed
                if self._left:
                    return
                skipped, self._skipping = self._skipping, None
                yield skipped
                continue
            if len(self._buffer) < HEADER:
                return
            length = int.from_bytes(self._buffer[:4], "big")
            stream = int.from_bytes(self._buffer[4:8], "big")
            kind, flags = self._buffer[8], self._buffer[9]
            if length > MAX_DATA:
                del self._buffer[:HEADER]
                self._skipping, self._left = Frame(stream, kind, flags, None), length
                continue
            if len(self._buffer) < HEADER + length:
                return
            body = bytes(self._buffer[HEADER : HEADER + length])
            del self._buffer[: HEADER + length]
            yield Frame(stream, kind, flags, body)


def encode(stream: int, kind: int, data: bytes) -> bytes:
    """A frame as it goes on the wire."""
    return len(data).to_bytes(4, "big") + stream.to_bytes(4, "big") + bytes((kind, 0)) + data


def request(stream: int, service: str, method: str, payload: bytes, timeout_nano: int = 0) -> bytes:
    """The frame of a call; `stream` is odd, and larger than that of the call before."""
    return encode(stream, REQUEST, Request(service, method, payload, timeout_nano).encode())


def answer(stream: int, payload: bytes) -> bytes:
    """The frame of an answer.

    Raises:
        Exhausted: it is too long for one.
    """
    data = Response(Status(), payload).encode()
    if len(data) > MAX_DATA:
        raise Exhausted(f"the answer has {len(data)} bytes, more than {MAX_DATA}")
    return encode(stream, RESPONSE, data)


def refusal(stream: int, error: SampanError) -> bytes:
    """The frame of an answer that says what went wrong."""
    return encode(stream, RESPONSE, Response(Status(CODES.get(error.kind, 2), str(error))).encode())


def read_answer(data: bytes) -> bytes:
    """The payload of an answer.

    Raises:
        Invalid: it is none. SampanError: what the other side says went wrong.
    """
    response = Response.decode(data)
    status = response.status
    if status is not None and status.code:
        raise _ERRORS.get(status.code, Internal)(status.message or f"the call failed with code {status.code}")
    return response.payload
