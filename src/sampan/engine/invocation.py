"""A function that takes values, called by words: `module.wasm#add 1 2` prints 3, as `wasmtime run --invoke` does.

A module's function takes and returns numbers alone; what else its author may mean by them (a text's address, say)
cannot be known, so a text for it is refused. A component's also takes and returns text, truth values and characters.
Nothing here is imported at a call: it is made inside the jail.
"""

from __future__ import annotations

import os
from ctypes import c_double, c_float, c_uint32, c_uint64

from sampan.core.errors import Invalid
from sampan.engine.binding import F32, F64, I32, I64

LONGEST = 25
"""More letters than any whole number has."""
NAMES = {I32: "i32", I64: "i64", F32: "f32", F64: "f64"}
_BITS = {I32: 32, I64: 64}
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def take(words: list[str], kinds: tuple[int, ...], what: str) -> list[int]:
    """The bits of a module's arguments.

    Args:
        words: one for each value. kinds: the values' kinds. what: the function, for errors.

    Raises:
        Invalid: too many words or too few, or one that is no such number (exit code 126).
    """
    check_count(words, len(kinds), what)
    return [_bits(word, kind, what) for word, kind in zip(words, kinds, strict=True)]


def check_count(words: list[str], count: int, what: str) -> None:
    """Refuses another number of arguments than a function takes."""
    if len(words) != count:
        raise Invalid(
            f"{what} takes {count} value{'s' if count != 1 else ''}, and is given {len(words)}", exit_code=126
        )


def _bits(word: str, kind: int, what: str) -> int:
    if kind in _BITS:
        most = 1 << _BITS[kind]
        return integer(word, -most // 2, most - 1, NAMES[kind], what) % most
    value = number(word, NAMES[kind], what)
    return (
        c_uint32.from_buffer(c_float(value)).value
        if kind == F32
        else c_uint64.from_buffer(c_double(value)).value
    )


def integer(word: str, least: int, most: int, kind: str, what: str) -> int:
    """A whole number in decimal, or in hexadecimal after 0x.

    Raises:
        Invalid: it is none, or out of range.
    """
    sign, digits = (-1, word[1:]) if word.startswith("-") else (1, word)
    base = 16 if digits[:2] in ("0x", "0X") else 10
    try:
        if not (digits.isascii() and digits.isalnum() and len(digits) < LONGEST):
            raise ValueError
        value = sign * int(digits, base)
    except ValueError:
        raise refusal(word, kind, what) from None
    if not least <= value <= most:
        raise refusal(word, kind, what)
    return value


def number(word: str, kind: str, what: str) -> float:
    """A number with or without a fraction, `inf` or `nan`.

    Raises:
        Invalid: it is none.
    """
    try:
        return float(word)
    except ValueError:
        raise refusal(word, kind, what) from None


def refusal(word: str, kind: str, what: str) -> Invalid:
    """The error of a word that is not of the type that a function takes."""
    of_module = kind in NAMES.values()
    fix = "give a number: only a component's function takes text" if of_module else ""
    return Invalid(f"{what} takes {kind} there, and {word[:60]!r} is none", fix=fix, exit_code=126)


def told(bits: int, kind: int) -> str:
    """A module's result as text."""
    if kind in _BITS:
        half = 1 << (_BITS[kind] - 1)
        return str((bits + half) % (2 * half) - half)
    if kind == F32:
        return real(c_float.from_buffer(c_uint32(bits & 0xFFFFFFFF)).value, single=True)
    return real(c_double.from_buffer(c_uint64(bits)).value, single=False)


def real(value: float, *, single: bool) -> str:
    """The shortest decimal fraction that is this number and no other, without an exponent."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    text = repr(value)
    if single:
        tries = (f"{value:.{digits}g}" for digits in range(1, 10))
        text = next(shorter for shorter in tries if c_float(float(shorter)).value == value)
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    if point <= 0:
        digits, point = "0" * (1 - point) + digits, 1
    digits = digits.ljust(point, "0")
    rest = digits[point:].rstrip("0")
    return f"{sign}{digits[:point].lstrip('0') or '0'}{'.' + rest if rest else ''}"


def quoted(text: str, mark: str = '"') -> str:
    """Text as the component model's value encoding (WAVE) writes it: in quotes, on one line."""
    inside = "".join(
        f"\\{c}" if c == mark else _ESCAPES.get(c) or (c if c >= " " else f"\\u{{{ord(c):x}}}") for c in text
    )
    return f"{mark}{inside}{mark}"


def emit(lines: list[str]) -> None:
    """Writes a function's results to standard output, one a line; where nobody reads them any more they are lost."""
    data = "".join(f"{line}\n" for line in lines).encode(errors="replace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        return
