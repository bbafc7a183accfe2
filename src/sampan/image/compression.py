"""Compressed content as plain bytes: gzip, zstd, bzip2 and xz, told apart by their first bytes.

Bounded: what comes out may be neither larger than `limit` nor absurdly more than what went in. Garbage after the
end and streams that end early are refused, not passed over.
"""

from __future__ import annotations

import sys

from sampan.core.errors import DataLoss, Exhausted, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sampan.image.entries import Readable

CHUNK = 1 << 20
MAX_UNPACKED = 16 << 30
MAX_RATIO = 1000
FREE = 256 << 20  # this much may come out whatever went in
MAGIC_SIZE = 6
MAX_WINDOW = 27  # log2 of zstd's window: 128 MiB
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}


def compression_of(head: bytes) -> str:
    """gzip, zstd, bzip2, xz, or nothing, from the first six bytes."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def decompressed(stream: Readable, what: str, limit: int = MAX_UNPACKED) -> Iterator[bytes]:
    """The plain bytes of `stream`, in chunks; as they are where they are not compressed.

    Raises:
        Exhausted: more than `limit`, or a bomb.
        Invalid: damaged, or with garbage after the end. DataLoss: it ends early.
    """
    data = stream.read(CHUNK)
    kind = compression_of(data)
    taken, given = len(data), 0
    decoder: Any = None
    while True:
        if kind and (decoder is None or decoder.eof):
            data = data if decoder is None else bytes(decoder.unused_data)
            if len(data) < MAGIC_SIZE:
                data += stream.read(CHUNK)
            if not data:
                return
            if compression_of(data) != kind:
                raise Invalid(f"{what} has garbage after its {kind} data")
            decoder = _decoder(kind)
        elif kind and not decoder.needs_input:
            data = b""
        elif given or kind:
            data = stream.read(CHUNK)
            taken += len(data)
            if not data and kind:
                raise DataLoss(f"{what} ends in the middle of its {kind} data")
        if not kind and not data:
            return
        piece = _step(decoder, kind, data, what) if kind else data
        given += len(piece)
        allowed = min(limit, FREE + taken * MAX_RATIO)
        if given > allowed:
            raise Exhausted(f"{what} unpacks to more than {allowed} bytes")
        yield piece


class _Gzip:
    """zlib's decoder with the face of the others: bounded output, `eof`, `needs_input`."""

    def __init__(self) -> None:
        import zlib

        self._decoder = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


def _decoder(kind: str) -> Any:
    if kind == "gzip":
        return _Gzip()
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    if kind == "xz":
        import lzma

        return lzma.LZMADecompressor(memlimit=256 << 20)
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW})


def _step(decoder: Any, kind: str, data: bytes, what: str) -> bytes:
    try:
        piece: bytes = decoder.decompress(data, CHUNK)
    except Exception as error:  # each library has its own: zlib.error, LZMAError, OSError, ZstdError
        raise Invalid(f"{what} is damaged {kind} data: {error}") from error
    return piece
