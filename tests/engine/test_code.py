"""The text format, and code that the engine will not take."""

from __future__ import annotations

import os

import pytest

from sampan.core.errors import Invalid
from sampan.engine.binding import EngineError
from sampan.engine.code import map_code, serialize, wat_to_wasm
from sampan.engine.tuning import Tuning, new_engine


@pytest.mark.parametrize(
    ("text", "magic"), [(b"(module)", b"\0asm\1\0\0\0"), (b"(component)", b"\0asm\x0d\0\1\0")]
)
def test_text_becomes_a_binary(text: bytes, magic: bytes) -> None:
    assert wat_to_wasm(text).startswith(magic)


@pytest.mark.parametrize(
    "text", [b"", b"(module", b"(module\n (func oops))", b"\xff\xfe", b"\0asm", b"hello"]
)
def test_text_that_is_none_is_invalid(text: bytes) -> None:
    with pytest.raises(Invalid, match="not WebAssembly"):
        wat_to_wasm(text)


def test_the_error_has_line_and_column() -> None:
    with pytest.raises(Invalid, match=r"line and column 2:8"):
        wat_to_wasm(b"(module\n (func oops))")


def test_code_of_another_configuration_or_kind_is_refused() -> None:
    fd = os.memfd_create("code")
    os.write(fd, serialize(wat_to_wasm(b"(module)"), "module", Tuning(fuel=True)))
    for tuning, kind in ((Tuning(), "module"), (Tuning(fuel=True), "component")):
        with pytest.raises(EngineError):
            map_code(new_engine(tuning), fd, kind)
    assert map_code(new_engine(Tuning(fuel=True)), fd, "module")
    os.close(fd)
