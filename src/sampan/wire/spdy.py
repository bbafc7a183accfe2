"""SPDY/3.1 on the server's side: bytes in, events out; streams that the client opens, and no HTTP in them.

The protocol is draft-mbelshe-httpbis-spdy-00 with the window of the connection that 3.1 added. It is spoken for
Kubernetes' streams only, so there is no server push, no priority and no SETTINGS. The library that all its other
speakers use has no flow control: it never opens a window. So what we send is held back by the transport alone, and what
we take is bounded by whoever reads the connection.
"""

from __future__ import annotations

import zlib

from sampan.core.errors import Exhausted, Invalid, SampanError
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STREAMS = 1024  # open at once
MOST_CONTROL = 64 << 10  # bytes of a control frame
MOST_HEADERS = 64 << 10  # bytes of its headers, inflated
MOST_DATA = (1 << 24) - 1

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN, UNIDIRECTIONAL = 1, 2
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5
_VERSION = 3
_CONTROL = 0x80000000

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow"
    " authorization cache-control connection content-base content-encoding content-language content-length"
    " content-location content-md5 content-range content-type date etag expect expires from host if-match"
    " if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma"
    " proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade"
    " user-agent vary via warning www-authenticate method get status"
)
_STATUS = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative"
    " Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500"
    " Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec"
    " 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0."
)


def _length_first(words: list[str]) -> bytes:
    return b"".join(len(word).to_bytes(4, "big") + word.encode() for word in words)


DICTIONARY = (
    _length_first(
        [
            *_WORDS.split(),
            "200 OK",
            "version",
            "HTTP/1.1",
            "url",
            "public",
            "set-cookie",
            "keep-alive",
            "origin",
        ]
    )
    + _STATUS.encode()
)
"""What headers are compressed with from the start, §2.6.10.1."""


class Opened(Record):
    """A stream that the client has opened; `ended` where it sends nothing on it."""

    stream: int
    headers: dict[str, str]
    ended: bool = False


class Data(Record):
    """Bytes of a stream, in order; `ended` with the last of them. A frame may come as several of these."""

    stream: int
    data: bytes
    ended: bool = False


class Reset(Record):
    """The client gives a stream up."""

    stream: int


class GoneAway(Record):
    """The client opens no more streams."""


Event = Opened | Data | Reset | GoneAway


class Connection:
    """One connection: what comes in is given to `feed`, what is to be sent gathers in `outgoing`.

    Attributes:
        outgoing: whoever sends it clears it.
    """

    def __init__(self) -> None:
        self.outgoing = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._buffer = bytearray()
        self._data_stream = self._data_left = 0  # of a data frame that is not whole
        self._data_ends = False
        self._last = 0  # the highest stream that the client has opened
        self._receiving: set[int] = set()
        self._sending: set[int] = set()

    def feed(self, data: bytes) -> Iterator[Event]:
        """What has happened with these bytes; to be taken to the end.

        Raises:
            Invalid: they are against the protocol. Exhausted: a frame is too large. The connection is of no more
            use then; `outgoing` says so to the client.
        """
        self._buffer += data
        try:
            while True:
                if self._data_left:
                    if not self._buffer:
                        return
                    yield from self._take_data()
                elif len(self._buffer) < 8:
                    return
                elif self._buffer[0] & 0x80:
                    frame = self._take_control()
                    if frame is None:
                        return
                    yield from self._control(*frame)
                else:
                    yield from self._begin_data()
        except SampanError:
            self.go_away(PROTOCOL_ERROR)
            raise

    def is_open(self, stream: int) -> bool:
        """Whether either side may still send on a stream."""
        return stream in self._sending or stream in self._receiving

    def reply(self, stream: int) -> None:
        """Accepts a stream."""
        if stream in self._sending:
            self._write_control(SYN_REPLY, 0, stream.to_bytes(4, "big") + self._compressed({}))

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends bytes on a stream, and with `end` no more after them; nothing on one that is not open."""
        if stream not in self._sending:
            return
        view = memoryview(data)
        while len(view) > MOST_DATA:
            self._write_data(stream, 0, view[:MOST_DATA])
            view = view[MOST_DATA:]
        if view or end:
            self._write_data(stream, FIN if end else 0, view)
        if end:
            self._sending.discard(stream)

    def taken(self, stream: int, count: int) -> None:
        """Lets the client send as many bytes more: so many of them were passed on."""
        for opened in (stream, 0) if stream in self._receiving else (0,):
            self._write_control(WINDOW_UPDATE, 0, opened.to_bytes(4, "big") + count.to_bytes(4, "big"))

    def reset(self, stream: int, status: int = CANCEL) -> None:
        """Gives a stream up, both ways."""
        if self.is_open(stream):
            self._forget(stream)
            self._write_reset(stream, status)

    def go_away(self, status: int = 0) -> None:
        """Says that this connection takes no more streams."""
        self._write_control(GOAWAY, 0, self._last.to_bytes(4, "big") + status.to_bytes(4, "big"))

    def _take_control(self) -> tuple[int, int, bytes] | None:
        """A whole control frame: type, flags, content."""
        first, second = int.from_bytes(self._buffer[:4], "big"), int.from_bytes(self._buffer[4:8], "big")
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        flags, length = second >> 24, second & 0xFFFFFF
        if version != _VERSION:
            raise Invalid(f"version {version} of SPDY, where {_VERSION} is spoken")
        if length > MOST_CONTROL:
            raise Exhausted(f"a SPDY control frame has {length} bytes, more than {MOST_CONTROL}")
        if len(self._buffer) < 8 + length:
            return None
        content = bytes(self._buffer[8 : 8 + length])
        del self._buffer[: 8 + length]
        return kind, flags, content

    def _control(self, kind: int, flags: int, content: bytes) -> Iterator[Event]:
        if kind == SYN_STREAM:
            yield from self._open(flags, content)
        elif kind == RST_STREAM:
            stream = _number(content, 0)
            if self.is_open(stream):
                self._forget(stream)
                yield Reset(stream)
        elif kind == PING:
            if _number(content, 0) % 2:  # an even one answers a ping of ours
                self._write_control(PING, 0, content[:4])
        elif kind == GOAWAY:
            yield GoneAway()
        elif kind in (HEADERS, SYN_REPLY):
            self._inflated(content[4:])  # all headers of a connection are one compressed stream
        # SETTINGS and WINDOW_UPDATE are for a sender with flow control; other frames are to be ignored, §2.2.1

    def _open(self, flags: int, content: bytes) -> Iterator[Event]:
        stream = _number(content, 0)
        headers = self._inflated(content[10:])
        if stream % 2 == 0 or stream <= self._last:
            raise Invalid(f"the client opens the stream {stream} after {self._last}")
        self._last = stream
        if len(self._sending | self._receiving) >= MOST_STREAMS:
            self._write_reset(stream, REFUSED_STREAM)
            return
        if not flags & FIN:
            self._receiving.add(stream)
        if not flags & UNIDIRECTIONAL:
            self._sending.add(stream)
        yield Opened(stream, headers, bool(flags & FIN))

    def _begin_data(self) -> Iterator[Event]:
        self._data_stream = int.from_bytes(self._buffer[:4], "big")
        flags, self._data_left = self._buffer[4], int.from_bytes(self._buffer[5:8], "big")
        self._data_ends = bool(flags & FIN)
        del self._buffer[:8]
        if self._data_stream not in self._receiving and self._data_stream > self._last:
            raise Invalid(f"data for the stream {self._data_stream}, which was never opened")
        if not self._data_left:
            yield from self._data(b"")

    def _take_data(self) -> Iterator[Event]:
        """As much of a data frame as is there: it may be longer than anybody wants to keep."""
        data = bytes(self._buffer[: self._data_left])
        del self._buffer[: len(data)]
        self._data_left -= len(data)
        yield from self._data(data)

    def _data(self, data: bytes) -> Iterator[Event]:
        stream, ends = self._data_stream, self._data_ends and not self._data_left
        if stream in self._receiving:  # else it was reset, and the client did not know yet
            if ends:
                self._receiving.discard(stream)
            yield Data(stream, data, ends)

    def _forget(self, stream: int) -> None:
        self._receiving.discard(stream)
        self._sending.discard(stream)

    def _inflated(self, block: bytes) -> dict[str, str]:
        """Headers, their names in lower case; several values of one name are parted by NUL.

        Raises:
            Invalid: they are malformed. Exhausted: they become too large.
        """
        try:
            plain = self._inflate.decompress(block, MOST_HEADERS)
        except zlib.error as error:
            raise Invalid(f"the headers of a SPDY frame cannot be inflated: {error}") from error
        if self._inflate.unconsumed_tail:
            raise Exhausted(f"the headers of a SPDY frame have more than {MOST_HEADERS} bytes")
        headers: dict[str, str] = {}
        at = 4
        for _ in range(_number(plain, 0)):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            headers[name.lower()] = value
        return headers

    def _compressed(self, headers: dict[str, str]) -> bytes:
        plain = len(headers).to_bytes(4, "big")
        plain += b"".join(_length_first([name, value]) for name, value in headers.items())
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _write_data(self, stream: int, flags: int, data: memoryview) -> None:
        self.outgoing += stream.to_bytes(4, "big") + bytes([flags]) + len(data).to_bytes(3, "big")
        self.outgoing += data

    def _write_reset(self, stream: int, status: int) -> None:
        self._write_control(RST_STREAM, 0, stream.to_bytes(4, "big") + status.to_bytes(4, "big"))

    def _write_control(self, kind: int, flags: int, content: bytes) -> None:
        self.outgoing += (_CONTROL | _VERSION << 16 | kind).to_bytes(4, "big")
        self.outgoing += bytes([flags]) + len(content).to_bytes(3, "big") + content


def _number(data: bytes, at: int) -> int:
    """The 32 bits at `at`, without the first of them, which is reserved or too much."""
    if len(data) < at + 4:
        raise Invalid("a SPDY control frame is too short")
    return int.from_bytes(data[at : at + 4], "big") & 0x7FFFFFFF


def _text(data: bytes, at: int) -> tuple[str, int]:
    """The text at `at`, and where the next one begins."""
    end = at + 4 + _number(data, at)
    if end > len(data):
        raise Invalid("a header of a SPDY frame is cut off")
    return data[at + 4 : end].decode("latin-1"), end
