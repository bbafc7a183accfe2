"""A reader of tar streams from strangers: ustar, GNU and PAX headers (POSIX pax, "ustar Interchange Format").

It says what the archive says and touches no file. Python's `tarfile` is lenient where two readers may differ;
here a header has one meaning or the archive is refused: wrong checksums, numbers out of range, a PAX size that
contradicts the header, global headers that would rename things, sparse files, types that are not known.
"""

from __future__ import annotations

from sampan.core.errors import DataLoss, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Stream(Protocol):
        """What a tar is read from; both give fewer bytes than asked for only at its end."""

        def read(self, size: int, /) -> bytes: ...

        def skip(self, size: int, /) -> int: ...


BLOCK = 512
MAX_PATH = 4096
MAX_META = 1 << 20
MAX_SIZE = (1 << 63) - 1
MAX_ID = (1 << 31) - 1  # of a user or group that we take; what reads says so
OCTAL_SIZE = (1 << 33) - 1  # the most that 11 octal digits hold
FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = (b"0", b"1", b"2", b"3", b"4", b"5", b"6")
_KINDS = (FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO)
_SAME = {b"\0": FILE, b"7": FILE}
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_MEANT = (b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime")
_ZERO = bytes(BLOCK)


class Entry:
    """One entry: `kind` is one of the type flags above; `mtime` in nanoseconds; `xattrs` are names."""

    __slots__ = ("gid", "kind", "link", "mode", "mtime", "name", "size", "uid", "xattrs")

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    xattrs: list[bytes]


class TarReader:
    """The entries of a tar stream, in order; `read` gives the content of the one that came last."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the current entry's content; nothing at its end.

        Raises:
            DataLoss: the archive ends inside it.
        """
        wanted = min(size, self._left)
        data = self._stream.read(wanted)
        if len(data) != wanted:
            raise DataLoss("the tar archive ends inside a file")
        self._left -= wanted
        return data

    def __iter__(self) -> Iterator[Entry]:
        """All entries.

        Raises:
            Invalid: a header is not one, or says two things.
            DataLoss: the archive ends inside an entry.
        """
        extra: dict[bytes, bytes] = {}
        while header := self._next_header():
            kind = header[156:157]
            if kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
                data = self._meta(header)
                if kind == _PAX:
                    extra.update(_pax_records(data))
                elif kind == _PAX_GLOBAL:
                    _check_global(_pax_records(data))
                else:
                    extra[b"path" if kind == _LONG_NAME else b"linkpath"] = data.rstrip(b"\0")
                continue
            entry = _entry(header, extra)
            extra = {}
            self._expect(entry.size)
            yield entry
        if extra:
            raise Invalid("the tar archive ends after an extended header")

    def _next_header(self) -> bytes:
        """The next header block, its checksum verified; nothing at the end of the archive."""
        rest = self._left + self._padding
        if self._stream.skip(rest) != rest:
            raise DataLoss("the tar archive ends inside a file")
        self._left = self._padding = 0
        header = self._stream.read(BLOCK)
        if not header or header == _ZERO:
            return b""
        if len(header) != BLOCK:
            raise DataLoss("the tar archive ends inside a header")
        told = _number(header[148:156], "checksum")
        body = header[:148] + b" " * 8 + header[156:]
        if told not in (sum(body), sum(b - 256 if b > 127 else b for b in body)):
            raise Invalid("the tar archive has a header with a wrong checksum")
        return header

    def _expect(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _meta(self, header: bytes) -> bytes:
        size = _size(header)
        if size > MAX_META:
            raise Invalid(f"the tar archive has an extended header of {size} bytes")
        self._expect(size)
        return self.read(size)


def _entry(header: bytes, extra: dict[bytes, bytes]) -> Entry:
    entry = Entry()
    kind = header[156:157]
    entry.name = extra.get(b"path", _header_name(header))
    entry.kind = _SAME.get(kind, kind)
    if kind == b"\0" and entry.name.endswith(b"/"):  # how folders were written before there were types
        entry.kind = DIRECTORY
    if entry.kind not in _KINDS or any(key.startswith(b"GNU.sparse") for key in extra):
        raise Invalid(f"the tar archive has an entry {entry.name[:100]!r} of a type that is not accepted")
    entry.link = extra.get(b"linkpath", _text(header[157:257]))
    for what in (entry.name, entry.link):
        if len(what) > MAX_PATH or b"\0" in what:
            raise Invalid(f"the tar archive has a name that cannot be one: {what[:100]!r}")
    entry.mode = _number(header[100:108], "mode") & 0o7777
    entry.uid = _decimal(extra, b"uid") if b"uid" in extra else _number(header[108:116], "uid")
    entry.gid = _decimal(extra, b"gid") if b"gid" in extra else _number(header[116:124], "gid")
    entry.mtime = _time(extra[b"mtime"]) if b"mtime" in extra else _clamp(_number(header[136:148], "mtime"))
    entry.size = _real_size(header, extra) if entry.kind == FILE else 0
    entry.xattrs = [k.removeprefix(b"SCHILY.xattr.") for k in extra if k.startswith(b"SCHILY.xattr.")]
    return entry


def _real_size(header: bytes, extra: dict[bytes, bytes]) -> int:
    """The size; PAX may only tell one that does not fit into the header."""
    size = _size(header)
    if b"size" not in extra:
        return size
    told = _decimal(extra, b"size")
    if told != size and told <= OCTAL_SIZE:
        raise Invalid(f"the tar archive gives one file two sizes, {size} and {told}")
    return told


def _size(header: bytes) -> int:
    size = _number(header[124:136], "size")
    if not 0 <= size <= MAX_SIZE:
        raise Invalid(f"the tar archive has an entry of {size} bytes")
    return size


def _header_name(header: bytes) -> bytes:
    name, prefix = _text(header[:100]), _text(header[345:500])
    is_ustar = header[257:263] == b"ustar\0"
    return prefix + b"/" + name if is_ustar and prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str) -> int:
    """Octal digits, or GNU's base 256 where the first bit is set."""
    if field[0] & 0x80:
        if field[0] == 0xFF:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise Invalid(f"the tar archive has a header whose {what} is no number")
    return int(digits, 8)


def _decimal(extra: dict[bytes, bytes], key: bytes) -> int:
    text = extra[key]
    if not text.isdigit() or len(text) > 20 or int(text) > MAX_SIZE:
        raise Invalid(f"the tar archive has a PAX {key.decode()} that is no number: {text[:40]!r}")
    return int(text)


def _time(text: bytes) -> int:
    """Nanoseconds of a PAX time, which may have any number of decimals and a sign."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, part = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or (part and not part.isdigit()) or len(text) > 64:
        raise Invalid(f"the tar archive has a PAX time that is none: {text[:40]!r}")
    return sign * (abs(_clamp(int(whole))) + int((part + b"000000000")[:9]))


def _clamp(seconds: int) -> int:
    """Nanoseconds, within what file systems keep (1901 to 2446)."""
    return max(-(1 << 31), min(seconds, (1 << 33) + (1 << 32) + (1 << 31) - 1)) * 10**9


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """The records `LENGTH KEY=VALUE\\n` of an extended header, the last of equal keys."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(data):
        digits, space, _ = data[start : start + 9].partition(b" ")
        end = start + int(digits) if space and digits.isdigit() else 0
        key, equals, value = data[start + len(digits) + 1 : end - 1].partition(b"=")
        if end > len(data) or not equals or not key or data[end - 1 : end] != b"\n":
            raise Invalid("the tar archive has an extended header that cannot be read")
        if b"\0" in key or (key in _MEANT and b"\0" in value):
            raise Invalid("the tar archive has an extended header with a NUL in it")
        records[key] = value
        start = end
    return records


def _check_global(records: dict[bytes, bytes]) -> None:
    """Global headers are read by some and passed over by others: accepted where that makes no difference."""
    for key in records:
        if key in _MEANT or key.startswith((b"GNU.sparse", b"SCHILY.xattr.")):
            raise Invalid(f"the tar archive sets {key[:40]!r} for all files at once")
