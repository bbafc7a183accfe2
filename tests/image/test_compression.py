"""Decompression: all kinds, in bounded pieces, and bombs and damage refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import DataLoss, Exhausted, Invalid, SampanError
from sampan.image.compression import CHUNK, FREE, compression_of, decompressed

SQUEEZE = {"gzip": gzip.compress, "zstd": zstd.compress, "bzip2": bz2.compress, "xz": lzma.compress}
kinds = pytest.mark.parametrize("kind", list(SQUEEZE))


def plain(data, **options):
    return b"".join(decompressed(io.BytesIO(data), "it", **options))


@given(st.binary(max_size=3000))
def test_all_kinds_give_the_same_bytes(data):
    assert plain(b"plain" + data) == b"plain" + data
    for kind, squeeze in SQUEEZE.items():
        assert compression_of(squeeze(data)) == kind
        assert plain(squeeze(data)) == data


@kinds
def test_pieces_are_bounded(kind):
    data = bytes(3 * CHUNK + 5)
    pieces = list(decompressed(io.BytesIO(SQUEEZE[kind](data)), "it"))
    assert b"".join(pieces) == data
    assert max(len(p) for p in pieces) <= CHUNK


@kinds
def test_L12_members_are_joined_and_garbage_is_refused(kind):
    squeeze = SQUEEZE[kind]
    assert plain(squeeze(b"a") + squeeze(b"b")) == b"ab"
    for garbage in (b"garbage!", b"\0" * 512, b"x"):
        with pytest.raises(Invalid, match="garbage"):
            plain(squeeze(b"a") + garbage)


@kinds
def test_L12_a_truncated_stream_is_refused(kind):
    data = SQUEEZE[kind](bytes(range(256)) * 9)
    for end in range(6, len(data)):
        with pytest.raises(DataLoss, match="ends in the middle"):
            plain(data[:end])


@kinds
def test_L11_more_than_the_limit_is_refused(kind):
    with pytest.raises(Exhausted, match="1000 bytes"):
        plain(SQUEEZE[kind](bytes(100_000)), limit=1000)


def test_L11_a_bomb_is_refused_by_its_ratio():
    bomb = zstd.compress(bytes(FREE + (32 << 20)))
    with pytest.raises(Exhausted):
        for _ in decompressed(io.BytesIO(bomb), "it"):
            pass


def test_L13_a_window_of_2_gib_is_refused():
    options = {
        zstd.CompressionParameter.window_log: 31,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    with pytest.raises(Invalid, match="damaged zstd"):
        plain(compressor.compress(b"x") + compressor.flush())


@kinds
@given(noise=st.binary(min_size=1, max_size=40), at=st.integers(0, 60))
def test_damage_is_an_error_or_the_same_data(kind, noise, at):
    data = SQUEEZE[kind](b"some text that is long enough to be cut")
    try:
        plain(data[:at] + noise + data[at + len(noise) :])
    except SampanError as error:
        assert error.kind in ("INVALID", "DATA_LOSS", "EXHAUSTED")
