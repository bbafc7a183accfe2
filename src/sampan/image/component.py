"""What a Wasm file is, and the names that it imports and exports, read from its bytes.

Reads the sections of a component just far enough for image metadata (component-model Binary.md); validates
nothing, runs nothing. The engine has the last word on whether the file is good.
"""

from __future__ import annotations

from sampan.core.detect import Clues, detect
from sampan.core.errors import Invalid
from sampan.core.record import Record

_PREAMBLE = 8
_IMPORT, _EXPORT = 10, 11
_MODULE_EXPORT, _FUNCTION = 7, 0


class Interfaces(Record):
    """Names such as `wasi:cli/run@0.2.0`, in the order of the file."""

    imports: list[str]
    exports: list[str]


def check_wasm(header: bytes, what: str) -> str:
    """`module` or `component`, from a file's first bytes (64 are enough).

    Raises:
        Invalid: neither; the message says what the file looks like.
    """
    verdict = detect(Clues(head=header, name=what))
    if verdict.kind not in ("module", "component"):
        raise Invalid(
            f"{what} is not Wasm: {verdict.evidence[-1]}",
            fix="a Wasm file begins with \\0asm and a version",
            exit_code=126,
        )
    return verdict.kind


def interfaces(data: bytes) -> Interfaces | None:
    """The imports and exports of a component; None for a core module.

    Raises:
        Invalid: not Wasm, or sections that end early.
    """
    if check_wasm(data[:64], "the module") == "module":
        return None
    found = Interfaces([], [])
    reader = _Reader(data, _PREAMBLE)
    try:
        while reader.at < len(data):
            section, size = reader.byte(), reader.number()
            end = reader.at + size
            if end > len(data):
                raise IndexError
            if section == _IMPORT:
                found.imports += [reader.named(reader.external) for _ in range(reader.number())]
            elif section == _EXPORT:
                found.exports += [reader.named(reader.exported) for _ in range(reader.number())]
            reader.at = end
    except (IndexError, UnicodeDecodeError):
        raise Invalid(
            "the component's imports and exports cannot be read: it ends early or is damaged"
        ) from None
    return found


def exported_functions(data: bytes) -> list[str]:
    """The names of the functions that a module exports; for a component, of all that it exports.

    Raises:
        Invalid: not Wasm, or sections that end early.
    """
    found = interfaces(data)
    if found is not None:
        return found.exports
    reader, names = _Reader(data, _PREAMBLE), []
    try:
        while reader.at < len(data):
            section, size = reader.byte(), reader.number()
            end = reader.at + size
            if section == _MODULE_EXPORT:
                for _ in range(reader.number()):
                    name, kind, _ = reader.text(), reader.byte(), reader.number()
                    names += [name] if kind == _FUNCTION else []
                break
            reader.at = end
    except (IndexError, UnicodeDecodeError):
        raise Invalid("the module's exports cannot be read: it ends early or is damaged") from None
    return names


class _Reader:
    """Walks the binary; IndexError where it ends."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """An unsigned LEB128 (a signed one has the same length)."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError

    def text(self) -> str:
        size = self.number()
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise IndexError
        return self.data[start : self.at].decode()

    def named(self, skip: object) -> str:
        """One import or export: its name; what it stands for is passed over by `skip`."""
        kind = self.byte()
        name = self.text()
        if kind == 2:  # followed by a version suffix
            name += self.text()
        assert callable(skip)
        skip()
        return name

    def external(self) -> None:
        """An `externdesc`."""
        kind = self.byte()
        if kind == 0:
            self.byte()  # core module
            self.number()
        elif kind in (2, 3):  # a value or type bound: by index, or `sub resource` / a value type
            bound = self.byte()
            if kind == 2 or bound == 0:
                self.number()
        elif kind in (1, 4, 5):
            self.number()
        else:
            raise IndexError

    def exported(self) -> None:
        """A `sortidx` and an optional `externdesc`."""
        if self.byte() == 0:
            self.byte()
        self.number()
        if self.byte():
            self.external()
