"""What a Wasm file exports, read from its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.engine.code import wat_to_wasm
from sampan.image.component import exported_functions

MODULE = wat_to_wasm(
    b"""(module (memory (export "memory") 1) (global (export "g") i32 (i32.const 1))
    (func (export "greet")) (func (export "Gr\xc3\xbc\xc3\x9fe") (param i32)) (data (i32.const 0) "x"))"""
)
COMPONENT = wat_to_wasm(
    b"""(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
    (func (export "greet") (canon lift (core func $i "f"))))"""
)


def test_the_functions_of_a_module_and_of_a_component() -> None:
    assert exported_functions(MODULE) == ["greet", "Grüße"]
    assert exported_functions(COMPONENT) == ["greet"]
    assert exported_functions(wat_to_wasm(b"(module)")) == []


def test_what_is_no_wasm_is_refused() -> None:
    with pytest.raises(Invalid, match="not Wasm"):
        exported_functions(b"\x7fELF")


@given(st.integers(0, 300), st.integers(0, 300), st.binary(max_size=8))
def test_a_damaged_file_gives_names_or_is_refused(cut: int, at: int, junk: bytes) -> None:
    for whole in (MODULE, COMPONENT):
        damaged = whole[: cut % len(whole)] if cut else whole
        at %= len(whole)
        try:
            names = exported_functions(damaged[:at] + junk + damaged[at + len(junk) :])
        except Invalid:
            continue
        assert all(isinstance(name, str) for name in names)
