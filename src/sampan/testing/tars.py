"""Tar archives for tests, also such as no tool would write: every header field can be given its raw bytes.

archive(folder("etc"), file("etc/motd", b"hi"), link("l", "etc/motd"))
"""

from __future__ import annotations

import gzip

from sampan.core.digest import digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: bytes,
    kind: bytes = b"0",
    size: bytes | int = 0,
    mode: bytes | int = 0o644,
    uid: bytes | int = 0,
    gid: bytes | int = 0,
    mtime: bytes | int = 0,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """One header block; integers become octal digits, or base 256 where those do not fit; bytes stay as they are."""
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            _number(mode, 8),
            _number(uid, 8),
            _number(gid, 8),
            _number(size, 12),
            _number(mtime, 12),
            b" " * 8,
            kind,
            link[:100].ljust(100, b"\0"),
            magic,
            bytes(80),
            prefix.ljust(155, b"\0"),
        )
    ).ljust(BLOCK, b"\0")
    total = sum(block) if checksum is None else checksum
    return block[:148] + b"%06o\0 " % total + block[156:]


def entry(name: str | bytes, data: bytes = b"", **fields: Any) -> bytes:
    """A header and its content, padded; names and links too long for the header go into a PAX header."""
    raw = name.encode() if isinstance(name, str) else name
    long = {k: v for k, v in (("path", raw), ("linkpath", fields.get("link", b""))) if len(v) > 100}
    fields.setdefault("size", len(data))
    return (pax(**long) if long else b"") + header(raw, **fields) + _padded(data)


def file(name: str | bytes, data: bytes = b"", **fields: Any) -> bytes:
    """A regular file."""
    return entry(name, data, **fields)


def folder(name: str | bytes, **fields: Any) -> bytes:
    """A folder."""
    return entry(name, kind=b"5", **{"mode": 0o755, **fields})


def symlink(name: str | bytes, target: str, **fields: Any) -> bytes:
    """A symbolic link."""
    return entry(name, kind=b"2", link=target.encode(), **{"mode": 0o777, **fields})


def hardlink(name: str | bytes, target: str, **fields: Any) -> bytes:
    """A hard link."""
    return entry(name, kind=b"1", link=target.encode(), **fields)


def pax(kind: bytes = b"x", **records: bytes) -> bytes:
    """An extended header for the next entry; `pax(**{"SCHILY.xattr.user.x": b"1"})`."""
    return raw_pax(b"".join(pax_record(k.encode(), v) for k, v in records.items()), kind)


def raw_pax(body: bytes, kind: bytes = b"x") -> bytes:
    """An extended header with any body."""
    return header(b"pax", kind, len(body)) + _padded(body)


def pax_record(key: bytes, value: bytes) -> bytes:
    """One record, `LENGTH KEY=VALUE\\n`, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's header for the next entry's long name (or link, with kind `K`)."""
    return header(b"././@LongLink", kind, len(name) + 1, magic=b"ustar  \0") + _padded(name + b"\0")


def archive(*parts: bytes) -> bytes:
    """The parts and the end of the archive."""
    return b"".join(parts) + END


def layer(*parts: bytes) -> tuple[bytes, str]:
    """A gzip layer with the parts in it, the same bytes each time, and its diff id."""
    tar = archive(*parts)
    return gzip.compress(tar, mtime=0), digest_of(tar)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def _number(value: bytes | int, width: int) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    sign = 0xFF if value < 0 else 0x80
    return bytes([sign]) + (value % (1 << 8 * (width - 1))).to_bytes(width - 1, "big")
