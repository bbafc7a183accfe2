"""The server's side of ttrpc: accepts containerd's connections, reads calls, writes answers, in any order.

Whoever connects must be root or this process's own user. What a peer sends costs it no more than its own connection:
frames that are too long, half a frame and then silence, ids that go backwards, more connections than there is room for.
"""

from __future__ import annotations

import _socket
import os
import time

from sampan.core.errors import Exhausted, Internal, Invalid, SampanError, Unimplemented
from sampan.doors.shim.loop import READABLE, WRITABLE
from sampan.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.doors.shim.loop import Loop
    from sampan.wire.protobuf import Message
    from sampan.wire.ttrpc import Frame

MAX_CONNECTIONS = 256
MAX_UNSENT = 16 << 20
MAX_METADATA = 64 << 10
CHUNK = 64 << 10
HEADER_SECONDS = 30.0
REMOTE_OPEN = 2  # the flag of a stream that goes on


class Call:
    """One call, to be answered once, now or later; nobody minds if the caller has gone."""

    def __init__(self, connection: Connection, stream: int, request: ttrpc.Request) -> None:
        self._connection = connection
        self._stream = stream
        self.request = request

    def answer(self, message: Message) -> None:
        try:
            frame = ttrpc.answer(self._stream, message.encode())
        except SampanError as error:
            frame = ttrpc.refusal(self._stream, error)
        self._connection.send(frame)

    def refuse(self, error: SampanError) -> None:
        self._connection.send(ttrpc.refusal(self._stream, error))


class Server:
    """Listens on a socket and hands each call to `serve`.

    Attributes:
        connections: how many there are.
    """

    def __init__(self, loop: Loop, listener: _socket.socket, serve: Callable[[Call], None]) -> None:
        self._loop = loop
        self._listener = listener
        self._serve = serve
        self._connections: set[Connection] = set()
        loop.watch(listener.fileno(), READABLE, lambda _: self._accept())

    @property
    def connections(self) -> int:
        return len(self._connections)

    def close(self) -> None:
        """Listens no more; those who are connected get their answers."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:  # nobody any more, or no descriptors: the rest goes on
            return
        peer = _socket.socket(fileno=fd)
        if len(self._connections) >= MAX_CONNECTIONS or _uid_of(peer) not in (0, os.geteuid()):
            peer.close()
            return
        peer.setblocking(False)
        self._connections.add(Connection(self._loop, peer, self._serve, self._connections.discard))


def _uid_of(peer: _socket.socket) -> int:
    credentials = peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], "little")


class Connection:
    """One peer. It has to have sent a whole frame within a time from its first byte, or from the beginning."""

    def __init__(
        self,
        loop: Loop,
        peer: _socket.socket,
        serve: Callable[[Call], None],
        ended: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._peer = peer
        self._serve = serve
        self._ended = ended
        self._decoder = ttrpc.Decoder()
        self._unsent = bytearray()
        self._last_stream = 0
        self._open = True
        self._waits_since = time.monotonic()
        self._watched = False
        self._watch_silence()
        loop.watch(peer.fileno(), READABLE, self._ready)

    def send(self, data: bytes) -> None:
        """Sends, now or as soon as the peer takes it."""
        if not self._open:
            return
        self._unsent += data
        if len(self._unsent) > MAX_UNSENT:  # it does not read what it asks for
            self.close()
            return
        self._flush()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.forget(self._peer.fileno())
            self._peer.close()
            self._ended(self)

    def _ready(self, mask: int) -> None:
        if mask & WRITABLE:
            self._flush()
        if mask & ~WRITABLE and self._open:
            self._read()

    def _read(self) -> None:
        try:
            data = self._peer.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        was_waiting = self._decoder.waiting
        whole = False
        for frame in self._decoder.feed(data):
            whole = True
            self._take(frame)
            if not self._open:
                return
        if self._decoder.waiting and (whole or not was_waiting):
            self._waits_since = time.monotonic()
            self._watch_silence()
        elif not self._decoder.waiting:
            self._waits_since = 0.0

    def _watch_silence(self) -> None:
        if not self._watched:
            self._watched = True
            self._loop.after(HEADER_SECONDS, self._check_silence)

    def _check_silence(self) -> None:
        self._watched = False
        if not self._open or not self._waits_since:
            return
        left = self._waits_since + HEADER_SECONDS - time.monotonic()
        if left <= 0:
            self.close()
        else:
            self._watched = True
            self._loop.after(left, self._check_silence)

    def _take(self, frame: Frame) -> None:
        if frame.type != ttrpc.REQUEST:  # nothing was asked of this peer, and nothing can be told to it
            self.close()
            return
        try:
            self._serve(Call(self, frame.stream, self._request_of(frame)))
        except SampanError as error:
            self.send(ttrpc.refusal(frame.stream, error))

    def _request_of(self, frame: Frame) -> ttrpc.Request:
        stream, last = frame.stream, self._last_stream
        if stream % 2 == 0 or stream <= last:
            raise Invalid(f"the stream id {stream} is not odd and larger than the last one, {last}")
        self._last_stream = stream
        if frame.data is None:
            raise Exhausted(f"the request is longer than {ttrpc.MAX_DATA} bytes")
        if frame.flags & REMOTE_OPEN:
            raise Unimplemented("there are no streaming calls")
        request = ttrpc.Request.decode(frame.data)
        if request.timeout_nano < 0:
            raise Invalid(f"the timeout of {request.timeout_nano} ns is negative")
        if sum(len(pair.key) + len(pair.value) for pair in request.metadata) > MAX_METADATA:
            raise Invalid(f"the metadata is longer than {MAX_METADATA} bytes")
        return request

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._peer.send(self._unsent[:CHUNK])]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._loop.watch(self._peer.fileno(), READABLE | (WRITABLE if self._unsent else 0), self._ready)


def as_refusal(error: BaseException) -> SampanError:
    """What the caller is told of any failure: a fault of ours ends a call, never the server."""
    if isinstance(error, SampanError):
        return error
    return Internal(f"a fault of the shim: {type(error).__name__}: {error}")
