"""Clients of the streaming server, as their protocols have them, over real sockets."""

from __future__ import annotations

import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

from sampan.wire import spdy
from sampan.wire.websocket import BINARY, CLOSE

from ..wire.peers import SpdyPeer, data, masked, unframed

SECONDS = 20.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Refused(Exception):
    """The server's answer is no upgrade: its status and its text."""


def connect(url: str, *headers: str, method: str = "GET") -> socket.socket:
    """A connection with an upgrade granted."""
    parts = urlsplit(url)
    client = socket.create_connection((parts.hostname, parts.port), SECONDS)
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: Upgrade", *headers]
    client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = client.recv(1)
        if not part:
            break
        answer += part
    status = re.match(rb"HTTP/1\.1 (\d+)", answer)
    assert status is not None, answer
    if status[1] != b"101":
        text = b"".join(iter(lambda: client.recv(4096), b""))
        client.close()
        raise Refused(int(status[1]), text.decode())
    return client


class Spdy:
    """A client of SPDY that opens streams named by their headers, and gathers what comes on each."""

    def __init__(self, url: str, protocol: str = "v4.channel.k8s.io") -> None:
        self.socket = self._connect(url, protocol)
        self.peer = SpdyPeer()
        self.streams: dict[str, int] = {}
        self.got: dict[int, bytearray] = {}
        self.accepted: set[int] = set()
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.others: list[tuple[object, ...]] = []

    def _connect(self, url: str, protocol: str) -> socket.socket | Tunnel:
        return connect(url, "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}", method="POST")

    def open(self, name: str, **headers: str) -> int:
        stream = 2 * len(self.got) + 1
        self.got[stream] = bytearray()
        self.streams[name] = stream
        self.socket.sendall(self.peer.open(stream, **({"streamType": name} | headers)))
        return stream

    def send(self, name: str, content: bytes, *, end: bool = False) -> None:
        self.socket.sendall(data(self.streams[name], content, end=end))

    def listen(self) -> bool:
        """Takes what comes next; whether anything may come after it."""
        part = self.socket.recv(1 << 16)
        for frame in self.peer.feed(part):
            match frame:
                case ("data", int(stream), int(flags), bytes(content)):
                    self.got[stream] += content
                    if flags & spdy.FIN:
                        self.ended.add(stream)
                case (spdy.SYN_REPLY, int(stream), _):
                    self.accepted.add(stream)
                case (spdy.RST_STREAM, int(stream), _):
                    self.reset.add(stream)
                case _:
                    self.others.append(frame)
        return bool(part)

    def until(self, name: str, content: bytes) -> None:
        while content not in self.got[self.streams[name]]:
            assert self.listen(), self.got

    def until_end(self) -> None:
        while self.listen():
            continue
        self.socket.close()

    def text(self, name: str) -> bytes:
        return bytes(self.got[self.streams[name]])

    def status(self) -> dict[str, Any]:
        """How the command ended."""
        self.until_end()
        value: dict[str, Any] = json.loads(self.text("error"))
        return value

    def close(self) -> None:
        self.socket.close()


class Tunnel:
    """A connection inside WebSocket's messages, which cut it where they like."""

    def __init__(self, url: str, protocol: str) -> None:
        self._socket = websocket(url, protocol)
        self._left = b""

    def sendall(self, content: bytes) -> None:
        for at in range(0, len(content), 7):
            self._socket.sendall(masked(BINARY, content[at : at + 7]))

    def recv(self, count: int) -> bytes:
        frames: list[tuple[int, bytes]] = []
        while not frames:
            self._left += self._socket.recv(count)
            frames, self._left = unframed(self._left)
        return b"".join(payload for _, payload in frames)

    def close(self) -> None:
        self._socket.close()


class TunnelledSpdy(Spdy):
    """A client of SPDY inside WebSocket."""

    def _connect(self, url: str, protocol: str) -> Tunnel:
        return Tunnel(url, protocol)


def websocket(url: str, protocol: str) -> socket.socket:
    """A connection that has become a WebSocket."""
    headers = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]
    return connect(url, *headers, *([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []))


class Web:
    """A client of WebSocket that gathers what comes on each channel."""

    def __init__(self, url: str, protocol: str = "v5.channel.k8s.io") -> None:
        self.socket = websocket(url, protocol)
        self.got: dict[int, bytearray] = {}
        self.closed = False
        self._left = b""

    def send(self, channel: int, content: bytes) -> None:
        self.socket.sendall(masked(BINARY, bytes([channel]) + content))

    def listen(self) -> bool:
        part = self.socket.recv(1 << 16)
        frames, self._left = unframed(self._left + part)
        for opcode, payload in frames:
            if opcode == CLOSE:
                self.closed = True
            else:
                self.got.setdefault(payload[0], bytearray()).extend(payload[1:])
        return bool(part)

    def until(self, channel: int, content: bytes) -> None:
        while content not in self.got.get(channel, b""):
            assert self.listen(), self.got

    def until_end(self) -> None:
        while not self.closed and self.listen():
            continue
        if self.closed:
            self.socket.sendall(masked(CLOSE, b"\x03\xe8"))
            assert self.socket.recv(1) == b""
        self.socket.close()

    def status(self) -> dict[str, Any]:
        """How the command ended."""
        self.until_end()
        value: dict[str, Any] = json.loads(self.got[3])
        return value

    def close(self) -> None:
        self.socket.close()
