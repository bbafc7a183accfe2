"""Protocol buffers, declared as records: the part of proto3 that containerd's messages use.

    class Mount(Message):
        type: str = field(1, STRING)
        options: list[str] = field(4, repeated(STRING))

Fields that a message does not know are skipped, as the format asks for. What is malformed is an error that names the
field: a truncated value, a wrong wire type, text that is not UTF-8, groups (which proto3 does not have). There are no
oneofs, no extensions and no required fields; a map is a repeated message of a key and a value, as it is on the wire.
The encoding is protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

VARINT, FIXED64, BYTES_FOLLOW, FIXED32 = 0, 1, 2, 5
MAX_FIELD = (1 << 29) - 1
MAX_DEPTH = 64
_64_BITS = (1 << 64) - 1


class Kind:
    """How a field's value is written.

    Attributes:
        wire: its wire type. default: what it is when absent. read: makes it of the wire's value (an int, or bytes) and
            the depth. write: makes the bytes behind the tag of it. many: whether there is a list of them. packable:
            whether many may come in one piece.
    """

    def __init__(
        self,
        wire: int,
        default: object,
        read: Callable[[Any, int], Any],
        write: Callable[[Any], bytes],
        *,
        many: bool = False,
    ) -> None:
        self.wire = wire
        self.default = default
        self.read = read
        self.write = write
        self.many = many

    @property
    def packable(self) -> bool:
        return self.many and self.wire == VARINT


class _Declared:
    """What `field` leaves in a class body until the class is made."""

    def __init__(self, number: int, kind: Kind) -> None:
        self.number = number
        self.kind = kind


def field(number: int, kind: Kind) -> Any:
    """Declares a field of a message."""
    return _Declared(number, kind)


class Message(Record):
    """Base of all messages; fields are declared with `field`."""

    _by_number = dict[int, tuple[str, Kind]]()  # no annotation: it is no field

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._by_number = dict(cls._by_number)
        for name in cls._names:
            declared = cls.__dict__.get(name)
            if isinstance(declared, _Declared):
                cls._by_number[declared.number] = (name, declared.kind)
                setattr(cls, name, [] if declared.kind.many else declared.kind.default)

    @classmethod
    def decode(cls, data: bytes, depth: int = 0) -> Self:
        """The message that these bytes are.

        Raises:
            Invalid: they are none.
        """
        if depth > MAX_DEPTH:
            raise Invalid(f"a message is nested more than {MAX_DEPTH} deep")
        message = cls()
        fields = cls._by_number
        position, end = 0, len(data)
        while position < end:
            tag, position = read_varint(data, position)
            number, wire = tag >> 3, tag & 7
            if not 0 < number <= MAX_FIELD:
                raise Invalid(f"{cls.__name__}: {number} is not the number of a field")
            value, position = _read_value(data, position, wire, cls.__name__)
            known = fields.get(number)
            if known is None:
                continue
            name, kind = known
            try:
                if wire == kind.wire:
                    read = kind.read(value, depth)
                    if kind.many:
                        getattr(message, name).append(read)
                    else:
                        setattr(message, name, read)
                elif kind.packable and wire == BYTES_FOLLOW:
                    getattr(message, name).extend(kind.read(each, depth) for each in _unpacked(value))
                else:
                    raise Invalid(f"it has the wire type {wire}, not {kind.wire}")
            except Invalid as error:
                raise Invalid(f"{cls.__name__}.{name}: {error.message}") from error
        return message

    def encode(self) -> bytes:
        """The message as bytes; fields that have their default are left out."""
        out = bytearray()
        for number, (name, kind) in type(self)._by_number.items():
            value = getattr(self, name)
            if kind.packable:
                if value:
                    packed = b"".join(map(kind.write, value))
                    out += write_varint(number << 3 | BYTES_FOLLOW) + write_varint(len(packed)) + packed
                continue
            for each in value if kind.many else () if value == kind.default else (value,):
                out += write_varint(number << 3 | kind.wire)
                out += kind.write(each)
        return bytes(out)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and the position behind it.

    Raises:
        Invalid: it is cut off, or longer than 64 bits.
    """
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise Invalid("a number is longer than 64 bits")
    except IndexError:
        raise Invalid("a number is cut off") from None
    return value & _64_BITS, position


def write_varint(value: int) -> bytes:
    """A number from 0 to 2^64-1 as it goes on the wire."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_value(data: bytes, position: int, wire: int, name: str) -> tuple[Any, int]:
    if wire == VARINT:
        return read_varint(data, position)
    if wire == BYTES_FOLLOW:
        length, position = read_varint(data, position)
    elif wire == FIXED64:
        length = 8
    elif wire == FIXED32:
        length = 4
    else:
        raise Invalid(f"{name}: there is no wire type {wire}")
    if length > len(data) - position:
        raise Invalid(f"{name}: a value is cut off")
    return data[position : position + length], position + length


def _unpacked(data: bytes) -> list[int]:
    position, values = 0, []
    while position < len(data):
        value, position = read_varint(data, position)
        values.append(value)
    return values


def _read_text(value: bytes, _: int) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Invalid("it is not UTF-8") from error


def _write_bytes(value: bytes) -> bytes:
    return write_varint(len(value)) + value


def _write_text(value: str) -> bytes:
    """Lone surrogates, which stand for other bytes in names of files, have no place in a message."""
    return _write_bytes(value.encode(errors="replace"))


def _read_signed(bits: int) -> Callable[[int, int], int]:
    top = 1 << bits - 1
    mask = (1 << bits) - 1
    return lambda value, _: ((value & mask) ^ top) - top


UINT32 = Kind(VARINT, 0, lambda value, _: value & 0xFFFFFFFF, lambda value: write_varint(value & 0xFFFFFFFF))
UINT64 = Kind(VARINT, 0, lambda value, _: value, lambda value: write_varint(value & _64_BITS))
INT32 = Kind(VARINT, 0, _read_signed(32), lambda value: write_varint(value & _64_BITS))
INT64 = Kind(VARINT, 0, _read_signed(64), lambda value: write_varint(value & _64_BITS))
BOOL = Kind(VARINT, False, lambda value, _: value != 0, lambda value: b"\1" if value else b"\0")
STRING = Kind(BYTES_FOLLOW, "", _read_text, _write_text)
BYTES = Kind(BYTES_FOLLOW, b"", lambda value, _: value, _write_bytes)


def message(of: type[Message]) -> Kind:
    """A message inside another; None when absent."""
    return Kind(
        BYTES_FOLLOW,
        None,
        lambda value, depth: of.decode(value, depth + 1),
        lambda value: _write_bytes(value.encode()),
    )


def repeated(kind: Kind) -> Kind:
    """A list of them; numbers in one piece."""
    return Kind(kind.wire, kind.default, kind.read, kind.write, many=True)


def by_number(values: Mapping[int, int | str | bytes | list[int] | list[bytes]]) -> bytes:
    """A message that is only ever written, from its values by their numbers: UINT64, STRING, other messages, lists.

    Numbers and texts that are empty are left out; a message is there even with nothing in it, for readers ask it.
    """
    out = bytearray()
    for number, value in values.items():
        if isinstance(value, int):
            out += write_varint(number << 3 | VARINT) + UINT64.write(value) if value else b""
        elif isinstance(value, list) and value and isinstance(value[0], int):
            out += write_varint(number << 3 | BYTES_FOLLOW)
            out += _write_bytes(b"".join(map(UINT64.write, value)))
        elif value != "":
            for each in value if isinstance(value, list) else [value]:
                text = STRING.write(each) if isinstance(each, str) else BYTES.write(each)
                out += write_varint(number << 3 | BYTES_FOLLOW) + text
    return bytes(out)
