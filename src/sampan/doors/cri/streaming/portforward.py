"""Port-forward: each connection of the client's is a pair of streams, one for its bytes and one for what went wrong.

Over SPDY the client opens pairs as it needs them, and their headers name the port and the pair. Over WebSocket there is
one pair for each port that was asked for, and each of its channels begins with the port, two bytes little-endian.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sampan.core.errors import Exhausted, Invalid, SampanError, Unavailable
from sampan.doors.cri.streaming.remotecommand import VERSION_4, while_there
from sampan.doors.cri.streaming.spdy import SpdySession, SpdyStream
from sampan.doors.cri.streaming.websocket import ChannelSession, Messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sampan.doors.cri.streaming.pipes import Pipe
    from sampan.doors.cri.streaming.streams import Stream

    Dial = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

TUNNEL = "SPDY/3.1+portforward.k8s.io"
DATA, ERROR = "data", "error"
CHUNK = 64 << 10
MOST_PAIRS = 256


class PortForward:
    """A promised port-forward.

    Args:
        dial: connects to a port of the pod. ports: what a WebSocket client gets one pair of channels each for.
    """

    spdy = ("portforward.k8s.io",)
    otherwise = VERSION_4  # what a client of WebSocket speaks that names nothing

    def __init__(self, dial: Dial, ports: list[int]) -> None:
        self._dial = dial
        self._ports = ports

    @property
    def websocket(self) -> tuple[str, ...]:
        channels = (VERSION_4, "v4.base64.channel.k8s.io")
        return (TUNNEL, *channels) if self._ports else (TUNNEL,)

    async def serve_spdy(self, pipe: Pipe, _: str) -> None:
        """Serves a client until it goes away."""
        session = SpdySession(pipe)
        async with while_there(session.serve()), asyncio.TaskGroup() as tasks:
            pairs = _Pairs(lambda port, data, error: tasks.create_task(self._forward(port, data, error)))
            async for stream in session.opened():
                await pairs.add(session, stream)

    async def serve_websocket(self, pipe: Pipe, protocol: str) -> None:
        """Serves a client until it goes away, or all its connections have ended."""
        if protocol == TUNNEL:
            await self.serve_spdy(Messages(pipe), protocol)
            return
        session = ChannelSession(pipe, protocol, 2 * len(self._ports))
        async with while_there(session.serve()), asyncio.TaskGroup() as tasks:
            for port, data, error in zip(
                self._ports, session.channels[::2], session.channels[1::2], strict=True
            ):
                error.ignore_input()
                for channel in (data, error):
                    await channel.write(port.to_bytes(2, "little"))
                tasks.create_task(self._forward(port, data, error))
        await session.finish()

    async def _forward(self, port: int, data: Stream, error: Stream) -> None:
        """Copies between a connection of the client's and one to the port, until the port's side ends."""
        try:
            try:
                reader, writer = await self._dial(port)
            except OSError as failure:
                raise Unavailable(f"port {port} of the pod does not answer: {failure.strerror}") from failure
            try:
                await _copy_both(data, reader, writer)
            finally:
                writer.close()
        except SampanError as failure:
            await error.write(f"{failure} ({failure.kind})".encode())
            await error.end()
            await data.reset()
        except OSError:  # either side broke off
            await data.reset()
            await error.end()
        else:
            await data.end()
            await error.end()
        data.drop()
        error.drop()


class _Pairs:
    """Puts the streams that a client opens together."""

    def __init__(self, start: Callable[[int, SpdyStream, SpdyStream], object]) -> None:
        self._start = start
        self._waiting: dict[str, dict[str, SpdyStream]] = {}

    async def add(self, session: SpdySession, stream: SpdyStream) -> None:
        """Takes a stream in; a bad one is reset."""
        try:
            kind, request, port = _read_headers(stream)
            pair = self._waiting.setdefault(request, {})
            if kind in pair:
                raise Invalid(f"there are two {kind} streams of one request")
            if len(self._waiting) > MOST_PAIRS:
                raise Exhausted("too many requests have one of their streams only")
        except SampanError:
            await stream.reset()
            return
        pair[kind] = stream
        if kind == ERROR:
            stream.ignore_input()
        await session.accept(stream)
        if len(pair) == 2:
            del self._waiting[request]
            self._start(port, pair[DATA], pair[ERROR])


def _read_headers(stream: SpdyStream) -> tuple[str, str, int]:
    """A stream's kind, its request and its port.

    Raises:
        Invalid: one of them is missing or malformed.
    """
    kind, port = stream.headers.get("streamtype", ""), stream.headers.get("port", "")
    if kind not in (DATA, ERROR):
        raise Invalid(f"{kind[:40]!r} is not a stream of a port-forward")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 1 << 16):
        raise Invalid(f"{port[:40]!r} is not a port")
    # a client that names no request opens the error stream first, and the data stream right behind it
    request = stream.headers.get("requestid") or f"#{stream.number if kind == ERROR else stream.number - 2}"
    return kind, request, int(port)


async def _copy_both(data: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies both ways until the port's side ends; the client's end is passed on."""

    async def forth() -> None:
        try:
            while part := await data.read():
                writer.write(part)
                await writer.drain()
            writer.write_eof()
        except OSError:  # the port takes no more; what it says is still copied
            data.ignore_input()

    sending = asyncio.create_task(forth())
    try:
        while part := await reader.read(CHUNK):
            await data.write(part)
    finally:
        sending.cancel()
