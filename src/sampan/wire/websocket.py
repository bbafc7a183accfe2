"""WebSocket's frames on the server's side: bytes in, messages out. RFC 6455 §5, without extensions.

A message is kept until it is whole, so its size has a limit; the answers to pings and to a close are ready to be sent.
"""

from __future__ import annotations

from sampan.core.errors import Exhausted, Invalid, SampanError
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_MESSAGE = 1 << 20
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, TOO_BIG = 1000, 1002, 1009
_MOST_CONTROL = 125


class Message(Record):
    """A whole message, however many frames it came in."""

    data: bytes
    text: bool = False


class Closed(Record):
    """The client says that it sends no more; `code` is 1005 where it gave none."""

    code: int = 1005


class _Head(Record):
    """A frame's header: `size` is that of the header itself, `length` that of the payload."""

    final: bool
    opcode: int
    mask: bytes
    size: int
    length: int


class Decoder:
    """Takes the bytes of a connection as they come and gives what is in them.

    Attributes:
        outgoing: answers that are to be sent; whoever sends them clears it.
    """

    def __init__(self) -> None:
        self.outgoing = bytearray()
        self._buffer = bytearray()
        self._message = bytearray()
        self._opcode = CONTINUATION  # of the message that has begun

    def feed(self, data: bytes) -> Iterator[Message | Closed]:
        """What is whole with these bytes; to be taken to the end.

        Raises:
            Invalid: they are against the protocol. Exhausted: a message is too long. `outgoing` has the answer.
        """
        self._buffer += data
        try:
            while (head := _parse_head(self._buffer)) is not None:
                self._check(head)
                if len(self._buffer) < head.size + head.length:
                    return
                payload = _unmasked(bytes(self._buffer[head.size : head.size + head.length]), head.mask)
                del self._buffer[: head.size + head.length]
                event = self._take(head, payload)
                if event is not None:
                    yield event
        except SampanError as error:
            self.outgoing += close(TOO_BIG if isinstance(error, Exhausted) else PROTOCOL_ERROR)
            raise

    def _check(self, head: _Head) -> None:
        if not head.mask:
            raise Invalid("a client's WebSocket frame is not masked")
        if head.opcode >= CLOSE:
            if head.opcode > PONG or head.length > _MOST_CONTROL or not head.final:
                raise Invalid("a WebSocket control frame is malformed")
        elif head.opcode > BINARY or (head.opcode == CONTINUATION) != (self._opcode != CONTINUATION):
            raise Invalid("a WebSocket frame is out of place")
        elif len(self._message) + head.length > MOST_MESSAGE:
            raise Exhausted(f"a WebSocket message has more than {MOST_MESSAGE} bytes")

    def _take(self, head: _Head, payload: bytes) -> Message | Closed | None:
        if head.opcode == PING:
            self.outgoing += encode(PONG, payload)
        elif head.opcode == CLOSE:
            if len(payload) == 1:
                raise Invalid("the code of a WebSocket's close has one byte")
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            self.outgoing += encode(CLOSE, payload[:2])
            return Closed(code)
        elif head.opcode != PONG:
            self._opcode = head.opcode or self._opcode
            self._message += payload
            if head.final:
                message = Message(bytes(self._message), self._opcode == TEXT)
                self._message.clear()
                self._opcode = CONTINUATION
                return message
        return None


def encode(opcode: int, payload: bytes) -> bytes:
    """A frame as a server sends it: whole, and not masked."""
    length = len(payload)
    if length <= _MOST_CONTROL:
        size = bytes([length])
    elif length < 1 << 16:
        size = b"\x7e" + length.to_bytes(2, "big")
    else:
        size = b"\x7f" + length.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + size + payload


def close(code: int) -> bytes:
    """The frame that ends a connection."""
    return encode(CLOSE, code.to_bytes(2, "big"))


def _parse_head(buffer: bytearray) -> _Head | None:
    """The header that `buffer` begins with, None where it is not whole yet."""
    if len(buffer) < 2:
        return None
    if buffer[0] & 0x70:
        raise Invalid("a WebSocket frame has a reserved bit set")
    length, at = buffer[1] & 0x7F, 2
    if length >= 126:
        wide = 2 if length == 126 else 8
        at += wide
        if len(buffer) < at:
            return None
        length = int.from_bytes(buffer[2:at], "big")
    masked = 4 if buffer[1] & 0x80 else 0
    if len(buffer) < at + masked:
        return None
    return _Head(
        bool(buffer[0] & 0x80), buffer[0] & 0x0F, bytes(buffer[at : at + masked]), at + masked, length
    )


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """The payload itself: one large number is much faster than a loop over bytes."""
    count = len(payload)
    key = (mask * (count // 4 + 1))[:count]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(count, "little")
