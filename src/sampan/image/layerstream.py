"""The tar inside a layer's blob, decompressed, hashed and counted while it is read.

What comes out gives the DiffID (config.md), and is counted against limits that a bomb reaches early. Only what
the image specification names is accepted: plain, gzip and zstd, told by the first bytes (media types lie about
compression, the magic numbers do not).
"""

from __future__ import annotations

from sampan.core.digest import parse_digest
from sampan.core.errors import DataLoss, Exhausted, Invalid, from_os_error
from sampan.core.record import Record
from sampan.image.compression import MAGIC_SIZE, compression_of, decompressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

CHUNK = 256 << 10
ACCEPTED = ("", "gzip", "zstd")


class Limits(Record):
    """What unpacking an image may cost.

    `bytes`, `entries` and `folders` are for all layers together. One layer may unpack to `ratio` times its
    compressed size, or to `small` bytes where that is more. `depth` counts the names of a path.
    """

    bytes: int = 64 << 30
    entries: int = 1_000_000
    folders: int = 150_000
    ratio: int = 200
    small: int = 256 << 20
    depth: int = 255


class LayerStream:
    """A readable stream of one layer's tar.

    Args:
        file: the blob, at its beginning, seekable.
        size: of the blob, in bytes.
        limits: `bytes` is what is left for this layer.
        diff_id: the digest that the tar shall have; empty where the format declares none.
    """

    def __init__(self, file: BinaryIO, size: int, limits: Limits, diff_id: str) -> None:
        import hashlib

        try:
            head = file.read(MAGIC_SIZE)
            file.seek(0)
        except OSError as error:
            raise from_os_error(error, "read a layer") from error
        if compression_of(head) not in ACCEPTED:
            raise Invalid(f"the layer is compressed with {compression_of(head)}", fix="use gzip or zstd")
        self.position = 0
        self._diff_id = parse_digest(diff_id) if diff_id else None
        self._hash = hashlib.new(self._diff_id.algorithm if self._diff_id else "sha256")
        self._most = min(limits.bytes, max(limits.small, limits.ratio * size))
        self._pieces = decompressed(file, "the layer")
        self._unpacked = 0
        self._ready = b""
        self._used = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end.

        Raises:
            Exhausted: the layer unpacks to more than it may.
            DataLoss: the blob is truncated or cannot be read.
            Invalid: it is damaged, or goes on after its end.
        """
        end = self._used + size
        while len(self._ready) < end:
            more = self._next()
            if more is None:
                break
            self._ready, self._used, end = self._ready[self._used :] + more, 0, size
        out = self._ready[self._used : end]
        self._used += len(out)
        self.position += len(out)
        return out

    def skip(self, size: int) -> int:
        """Pass over up to `size` bytes; how many there were."""
        left = size
        while left and (piece := self.read(min(left, CHUNK))):
            left -= len(piece)
        return size - left

    def finish(self) -> None:
        """Read to the end and compare with the DiffID.

        Raises:
            DataLoss: another digest than the image's configuration says.
        """
        while self.skip(CHUNK):
            pass
        if self._diff_id is not None and self._hash.hexdigest() != self._diff_id.hex:
            raise DataLoss(f"the layer does not unpack to its diff id {self._diff_id}")

    def _next(self) -> bytes | None:
        try:
            piece = next(self._pieces, None)
        except OSError as error:
            raise from_os_error(error, "read a layer") from error
        if piece is not None:
            self._hash.update(piece)
            self._unpacked += len(piece)
            if self._unpacked > self._most:
                raise Exhausted(f"the layer unpacks to more than the {self._most} bytes that it may")
        return piece
