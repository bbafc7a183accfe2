"""Large Wasm modules to measure with, made of small ones (WebAssembly core specification, "Binary Format")."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE = 8
FUNCTIONS, CODE = 3, 10
"""The sections that name the functions' types, and that hold their bodies: lists of equal length."""


def grown(module: bytes, size: int) -> bytes:
    """`module` with copies of all its functions, which nothing calls, until it has about `size` bytes."""
    sections = list(_sections(module))
    times = 1 + (size - len(module)) // len(dict(sections)[CODE])
    out = bytearray(module[:PREFACE])
    for kind, content in sections:
        if kind in (FUNCTIONS, CODE):
            count, at = _read(content, 0)
            larger = _written(count * times) + content[at:] * times
        else:
            larger = content
        out += bytes([kind]) + _written(len(larger)) + larger
    return bytes(out)


def _sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    at = PREFACE
    while at < len(module):
        length, begin = _read(module, at + 1)
        yield module[at], module[begin : begin + length]
        at = begin + length


def _read(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number, and where it ends."""
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return number, at


def _written(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
