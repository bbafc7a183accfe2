"""WebSocket's messages as a pipe, and Kubernetes' channels over them.

A message of a channel begins with the channel's number: a byte, or in the base64 protocols a digit. From version 5 on
the channel 255 says which of the others the client sends no more on.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from sampan.core.errors import SampanError
from sampan.doors.cri.streaming.streams import Room, Stream
from sampan.wire import websocket
from sampan.wire.websocket import BINARY, NORMAL, TEXT, Closed, Decoder

if TYPE_CHECKING:
    from sampan.doors.cri.streaming.pipes import Pipe

CLOSE_CHANNEL = 255
VERSION_5 = "v5.channel.k8s.io"


class Messages:
    """A pipe inside another: each read and each write is a whole message.

    Args:
        text: whether messages are sent as text.
    """

    def __init__(self, pipe: Pipe, *, text: bool = False) -> None:
        self._pipe = pipe
        self._opcode = TEXT if text else BINARY
        self._decoder = Decoder()
        self._received: list[bytes] = []
        self._closed = False

    async def read(self) -> bytes:
        """The next message that is not empty; nothing when the client ends, or speaks against the protocol."""
        while not self._received and not self._closed:
            data = await self._pipe.read()
            if not data:
                return b""
            try:
                for event in self._decoder.feed(data):
                    if isinstance(event, Closed):
                        self._closed = True
                        break
                    if event.data:
                        self._received.append(event.data)
            except SampanError:  # the answer says so
                self._closed = True
            if self._decoder.outgoing:
                answer = bytes(self._decoder.outgoing)
                self._decoder.outgoing.clear()
                await self._pipe.write(answer)
        return self._received.pop(0) if self._received else b""

    async def write(self, data: bytes) -> None:
        if not self._closed:
            await self._pipe.write(websocket.encode(self._opcode, data))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._pipe.write(websocket.close(NORMAL))

    def is_gone(self) -> bool:
        return self._closed or self._pipe.is_gone()


class Channel(Stream):
    """A stream with a fixed number; what is ended or reset is only not used any more."""

    def __init__(self, number: int, room: Room, session: ChannelSession) -> None:
        super().__init__({}, room)
        self._number = number
        self._session = session

    async def write(self, data: bytes) -> None:
        await self._session.write(self._number, data)

    async def end(self) -> None:
        return

    async def reset(self) -> None:
        self.ignore_input()


class ChannelSession:
    """A client whose messages are those of channels.

    Args:
        protocol: a name of Kubernetes'; base64 ones have their messages as text.
        count: how many channels there are.
    """

    def __init__(self, pipe: Pipe, protocol: str, count: int) -> None:
        self._is_base64 = "base64" in protocol
        self._has_close = protocol == VERSION_5
        self._pipe = Messages(pipe, text=self._is_base64)
        self._room = Room()
        self.channels = [Channel(number, self._room, self) for number in range(count)]

    async def serve(self) -> None:
        """Takes what the client sends until it goes away, or speaks against the protocol."""
        try:
            while message := await self._pipe.read():
                if not self._take(message):
                    return
                await self._room.wait(self._pipe)
        finally:
            for channel in self.channels:
                channel.finish()

    async def write(self, number: int, data: bytes) -> None:
        """Sends a message on a channel."""
        if self._is_base64:
            await self._pipe.write(b"%d" % number + binascii.b2a_base64(data, newline=False))
        else:
            await self._pipe.write(bytes([number]) + data)

    async def finish(self) -> None:
        """Says good-bye."""
        await self._pipe.close()

    def _take(self, message: bytes) -> bool:
        """Passes a message on; whether it was one of the protocol."""
        number, data = message[0], message[1:]
        if self._has_close and number == CLOSE_CHANNEL:
            if len(data) != 1 or data[0] >= len(self.channels):
                return False
            self.channels[data[0]].finish()
            return True
        if self._is_base64:
            number -= ord("0")
            try:
                data = binascii.a2b_base64(data, strict_mode=True) if data else b""
            except binascii.Error:
                return False
        if 0 <= number < len(self.channels):  # others are to be ignored
            self.channels[number].feed(data)
        return True
