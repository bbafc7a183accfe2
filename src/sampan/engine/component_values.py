"""The values of the component model that a person can write in a word: numbers, text, truth values, characters.

Shapes of the C API (`wasmtime/component/val.h`, `types/val.h`): the kinds of values and those of types have different
numbers.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    Structure,
    Union,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int64,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
    cast,
)

from sampan.core.errors import Precondition
from sampan.engine import invocation
from sampan.engine.binding import Bytes

RESULT = 19
_INTEGERS = {  # kind of the value: name, least, most
    1: ("s8", -(1 << 7), (1 << 7) - 1),
    2: ("u8", 0, (1 << 8) - 1),
    3: ("s16", -(1 << 15), (1 << 15) - 1),
    4: ("u16", 0, (1 << 16) - 1),
    5: ("s32", -(1 << 31), (1 << 31) - 1),
    6: ("u32", 0, (1 << 32) - 1),
    7: ("s64", -(1 << 63), (1 << 63) - 1),
    8: ("u64", 0, (1 << 64) - 1),
}
_BOOL, _F32, _F64, _CHAR, _STRING = 0, 9, 10, 11, 12
_KIND_OF_TYPE = {
    0: _BOOL,
    1: 1,
    2: 3,
    3: 5,
    4: 7,
    5: 2,
    6: 4,
    7: 6,
    8: 8,
    9: _F32,
    10: _F64,
    11: _CHAR,
    12: _STRING,
}


class Type(Structure):
    """`wasmtime_component_valtype_t`."""

    _fields_ = [("kind", c_uint8), ("_of", c_void_p)]


class _Result(Structure):
    """`wasmtime_component_valresult_t`."""

    _fields_ = [("is_ok", c_bool), ("value", c_void_p)]


class _Of(Union):
    _fields_ = [
        ("boolean", c_bool), ("signed", c_int64), ("word", c_uint64), ("f32", c_float), ("f64", c_double),
        ("character", c_uint32), ("string", Bytes), ("result", _Result), ("_space", c_uint64 * 3),
    ]  # fmt: skip


class Value(Structure):
    """`wasmtime_component_val_t`, with the alternatives that are read or written."""

    _fields_ = [("kind", c_uint8), ("of", _Of)]


class Arguments:
    """A component's arguments. The texts among them are kept here: the engine reads them where they are.

    Args:
        types: the kinds of the parameters' types. what: the function, for errors.

    Attributes:
        values: as the C API takes them. count: how many.

    Raises:
        Precondition: a parameter is of a type that no word can be. Invalid: a word that is no such value.
    """

    def __init__(self, words: list[str], types: list[int], what: str) -> None:
        if any(kind not in _KIND_OF_TYPE for kind in types):
            raise Precondition(
                f"{what} takes something other than numbers, text, truth values and characters", exit_code=126
            )
        if types:
            invocation.check_count(words, len(types), what)
        self.count = len(types)
        self.values = (Value * max(1, self.count))()
        self._texts: list[bytes] = []
        for value, word, kind in zip(self.values, words, types):
            value.kind = _KIND_OF_TYPE[kind]
            self._fill(value, word, what)

    def _fill(self, value: Value, word: str, what: str) -> None:
        kind = value.kind
        if kind in _INTEGERS:
            name, least, most = _INTEGERS[kind]
            value.of.word = invocation.integer(word, least, most, name, what) % (1 << 64)
        elif kind == _F32:
            value.of.f32 = invocation.number(word, "float", what)
        elif kind == _F64:
            value.of.f64 = invocation.number(word, "float", what)
        elif kind == _BOOL:
            if word not in ("true", "false"):
                raise invocation.refusal(word, "bool", what)
            value.of.boolean = word == "true"
        elif kind == _CHAR:
            if len(word) != 1 or "\ud800" <= word <= "\udfff":
                raise invocation.refusal(word, "char", what)
            value.of.character = ord(word)
        else:
            text = word.encode(errors="replace")
            self._texts.append(text)
            value.of.string.size, value.of.string.data = len(text), cast(c_char_p(text), c_void_p)


def told(value: Value) -> str:
    """A result in the component model's value encoding; "" for what has no short form."""
    kind, of = value.kind, value.of
    if kind in _INTEGERS:
        _, least, most = _INTEGERS[kind]
        bits = (most - least + 1).bit_length() - 1
        number = of.word % (1 << bits)
        return str(number - (1 << bits) if number > most else number)
    if kind in (_F32, _F64):
        return invocation.real(of.f32 if kind == _F32 else of.f64, single=kind == _F32).replace("NaN", "nan")
    if kind == _BOOL:
        return "true" if of.boolean else "false"
    if kind == _CHAR:
        return invocation.quoted(chr(of.character), "'")
    if kind == _STRING:
        return invocation.quoted(
            ctypes.string_at(of.string.data or 0, of.string.size).decode(errors="replace")
        )
    if kind == RESULT and of.result.value:
        inner = told(ctypes.cast(of.result.value, ctypes.POINTER(Value)).contents)
        return f"{'ok' if of.result.is_ok else 'err'}({inner})" if inner else ""
    return ""
