"""The client's sides of SPDY and WebSocket, as their specifications have them."""

from __future__ import annotations

import os
import zlib

from sampan.wire import spdy


class SpdyPeer:
    """Frames of a SPDY/3.1 client, and a reader of a server's."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=spdy.DICTIONARY)
        self._buffer = b""

    def open(self, stream: int, flags: int = 0, **headers: str) -> bytes:
        plain = len(headers).to_bytes(4, "big")
        for name, value in headers.items():
            plain += len(name).to_bytes(4, "big") + name.encode()
            plain += len(value).to_bytes(4, "big") + value.encode()
        return self.open_raw(stream, plain, flags)

    def open_raw(self, stream: int, plain: bytes, flags: int = 0) -> bytes:
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(spdy.SYN_STREAM, stream.to_bytes(4, "big") + bytes(6) + block, flags)

    def feed(self, data: bytes) -> list[tuple[object, ...]]:
        """What a server says: ("data", stream, flags, bytes), or (type, stream or number, rest)."""
        self._buffer += data
        seen: list[tuple[object, ...]] = []
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[5:8], "big")
            if len(self._buffer) < 8 + length:
                break
            head, body = self._buffer[:8], self._buffer[8 : 8 + length]
            self._buffer = self._buffer[8 + length :]
            if head[0] & 0x80:
                assert head[:2] == b"\x80\x03"
                kind = int.from_bytes(head[2:4], "big")
                if kind == spdy.SYN_REPLY:
                    assert self._inflate.decompress(body[4:]) == bytes(4)
                    body = body[:4]
                seen.append((kind, int.from_bytes(body[:4], "big"), body[4:]))
            else:
                seen.append(("data", int.from_bytes(head[:4], "big"), head[4], body))
        return seen


def control(kind: int, content: bytes, flags: int = 0, version: int = 3) -> bytes:
    head = (0x80000000 | version << 16 | kind).to_bytes(4, "big")
    return head + bytes([flags]) + len(content).to_bytes(3, "big") + content


def data(stream: int, content: bytes, *, end: bool = False) -> bytes:
    return stream.to_bytes(4, "big") + bytes([int(end)]) + len(content).to_bytes(3, "big") + content


def masked(opcode: int, payload: bytes, *, final: bool = True, mask: bytes | None = None) -> bytes:
    """A WebSocket frame as a client sends it."""
    key = os.urandom(4) if mask is None else mask
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 1 << 16:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    hidden = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes([(0x80 if final else 0) | opcode]) + size + key + hidden


def unframed(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames (opcode, payload) of a WebSocket server, and what is left."""
    frames = []
    while len(data) >= 2:
        assert data[0] & 0x80, "a server of ours sends no fragments"
        length, at = data[1], 2
        if length >= 126:
            at += 2 if length == 126 else 8
            length = int.from_bytes(data[2:at], "big")
        if len(data) < at + length:
            break
        frames.append((data[0] & 0x0F, data[at : at + length]))
        data = data[at + length :]
    return frames, data
