"""Whole small files, read by bare system calls: `open()` makes four more for each, and a buffer of the bound's size."""

from __future__ import annotations

import os

CHUNK = 1 << 16


def read_file(path: str, most: int = 1 << 26) -> bytes:
    """The content of a file; of one larger than `most` bytes, more than `most` bytes of it.

    Raises:
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_all(fd, most)
    finally:
        os.close(fd)


def read_all(fd: int, most: int = 1 << 26) -> bytes:
    """The rest of an open file, as `read_file` gives it."""
    pieces, size = [], 0
    while size <= most and (piece := os.read(fd, CHUNK)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
