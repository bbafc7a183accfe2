"""SPDY's streams over a pipe."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sampan.core.errors import SampanError
from sampan.doors.cri.streaming.streams import Room, Stream
from sampan.wire import spdy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sampan.doors.cri.streaming.pipes import Pipe


class SpdyStream(Stream):
    """A stream that the client has opened."""

    def __init__(self, number: int, headers: dict[str, str], room: Room, session: SpdySession) -> None:
        super().__init__(headers, room)
        self.number = number
        self._session = session

    async def read(self) -> bytes:
        data = await super().read()
        if data:
            self._session.protocol.taken(self.number, len(data))
            await self._session.flush()
        return data

    async def write(self, data: bytes) -> None:
        self._session.protocol.send(self.number, data)
        await self._session.flush()

    async def end(self) -> None:
        self._session.protocol.send(self.number, b"", end=True)
        self._session.settle(self)
        await self._session.flush()

    async def reset(self) -> None:
        self._session.protocol.reset(self.number)
        self._session.forget(self)
        await self._session.flush()


class SpdySession:
    """A client that opens streams over a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self.protocol = spdy.Connection()
        self._pipe = pipe
        self._room = Room()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._is_complete = False

    async def serve(self) -> None:
        """Takes what the client sends until it goes away, or speaks against the protocol."""
        try:
            while data := await self._pipe.read():
                for event in self.protocol.feed(data):
                    self._take(event)
                await self.flush()
                await self._room.wait(self._pipe)
        except SampanError:  # the answer says so, and the connection ends
            await self.flush()
        finally:
            for stream in self._streams.values():
                stream.finish()
            self._opened.put_nowait(None)

    async def opened(self) -> AsyncIterator[SpdyStream]:
        """The streams as the client opens them, until it goes away. Each must be accepted or reset."""
        while (stream := await self._opened.get()) is not None:
            yield stream

    def refuse_more(self) -> None:
        """Gives back at once what the client opens from now on."""
        self._is_complete = True

    async def accept(self, stream: SpdyStream) -> None:
        """Tells the client that a stream stands."""
        self.protocol.reply(stream.number)
        await self.flush()

    async def finish(self) -> None:
        """Ends all streams and says good-bye."""
        for stream in self._streams.values():
            self.protocol.send(stream.number, b"", end=True)
        self.protocol.go_away()
        await self.flush()

    async def flush(self) -> None:
        """Sends what the protocol has to say."""
        if self.protocol.outgoing:
            data = bytes(self.protocol.outgoing)
            self.protocol.outgoing.clear()
            await self._pipe.write(data)

    def settle(self, stream: SpdyStream) -> None:
        """Keeps a stream only for as long as one side may send on it."""
        if not self.protocol.is_open(stream.number):
            self._streams.pop(stream.number, None)

    def forget(self, stream: SpdyStream) -> None:
        """Holds nothing of a stream any more."""
        stream.drop()
        self._streams.pop(stream.number, None)

    def _take(self, event: spdy.Event) -> None:
        if isinstance(event, spdy.Opened) and self._is_complete:
            self.protocol.reset(event.stream)
        elif isinstance(event, spdy.Opened):
            stream = SpdyStream(event.stream, event.headers, self._room, self)
            self._streams[event.stream] = stream
            if event.ended:
                stream.finish()
            self._opened.put_nowait(stream)
        elif isinstance(event, spdy.Data) and event.stream in self._streams:
            stream = self._streams[event.stream]
            stream.feed(event.data)
            if event.ended:
                stream.finish()
                self.settle(stream)
        elif isinstance(event, spdy.Reset) and event.stream in self._streams:
            self.forget(self._streams[event.stream])
