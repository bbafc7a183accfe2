"""The C functions: how they come in, how errors and host functions cross over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from ctypes import byref, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Unavailable
from sampan.engine import binding
from sampan.engine.binding import I32, I64, C, EngineError, Extern, Instance, check
from sampan.engine.code import wat_to_wasm
from sampan.engine.tuning import Tuning, new_engine

SOURCE = Path(__file__).parents[2] / "src"
FORBIDDEN = {
    "argparse", "asyncio", "contextlib", "dataclasses", "enum", "hashlib", "inspect", "json", "logging", "pathlib",
    "re", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "typing", "wasmtime",
}  # fmt: skip


def test_the_hot_path_imports_nothing_heavy() -> None:
    program = (
        "import sys; before = set(sys.modules); import sampan.engine.program as p; p.preload();"
        "import sampan.engine.cache, sampan.core.detect; print(*sorted(set(sys.modules) - before))"
    )
    path = f"import sys; sys.path[:0] = {json.dumps([str(SOURCE), *sys.path])};"
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", path + program], stdout=subprocess.PIPE, check=True
    )
    assert not FORBIDDEN & set(out.stdout.decode().split())


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nonexistent"])
    with pytest.raises(Unavailable, match="_libwasmtime"):
        binding.library_path()


class Host:
    """An engine with a linker and a store, to call guests with host functions."""

    def __init__(self) -> None:
        self.engine = new_engine(Tuning())
        self.linker = C.wasmtime_linker_new(self.engine)
        self.store = C.wasmtime_store_new(self.engine, 42, None)
        self.context = C.wasmtime_store_context(self.store)
        self.callbacks: list[Any] = []

    def define(self, name: str, params: tuple[int, ...], results: tuple[int, ...], function: Any) -> None:
        self.callbacks.append(binding.define_function(self.linker, "host", name, params, results, function))

    def run(self, text: str) -> int:
        code, module, instance = wat_to_wasm(text.encode()), c_void_p(), Instance()
        trap, function, values = c_void_p(), Extern(), (c_uint64 * 2)()
        check(C.wasmtime_module_new(self.engine, code, len(code), byref(module)))
        check(
            C.wasmtime_linker_instantiate(self.linker, self.context, module, byref(instance), byref(trap)),
            trap,
        )
        assert C.wasmtime_instance_export_get(self.context, byref(instance), b"go", 2, byref(function))
        check(
            C.wasmtime_func_call_unchecked(self.context, byref(function.of.func), values, 1, byref(trap)),
            trap,
        )
        return int(values[0])

    def close(self) -> None:
        C.wasmtime_store_delete(self.store)
        C.wasmtime_linker_delete(self.linker)
        C.wasm_engine_delete(self.engine)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def test_a_host_function_gets_its_arguments_and_gives_its_result(host: Host) -> None:
    seen = []

    def add(_caller: int, values: Any) -> None:
        seen.append((values[0] & 0xFFFFFFFF, values[2]))
        values[0] = (values[0] & 0xFFFFFFFF) + values[2]

    host.define("add", (I32, I64), (I64,), add)
    text = """(module (import "host" "add" (func $add (param i32 i64) (result i64)))
      (func (export "go") (result i64) (call $add (i32.const -1) (i64.const 0x100000000))))"""
    assert host.run(text) == 0x1FFFFFFFF
    assert seen == [(0xFFFFFFFF, 0x100000000)]


def test_a_host_function_sees_the_memory_also_when_it_has_grown(host: Host) -> None:
    sizes, numbers = [], []

    def look(caller: int, _values: Any) -> None:
        address, size = binding.guest_memory(caller)
        assert address
        sizes.append(size)
        numbers.append(C.wasmtime_context_get_data(C.wasmtime_caller_context(caller)))

    host.define("look", (), (), look)
    host.run("""(module (import "host" "look" (func $look)) (memory (export "memory") 1)
      (func (export "go") (call $look) (drop (memory.grow (i32.const 9))) (call $look)))""")
    assert sizes == [65536, 655360]
    assert numbers == [42, 42]


def test_a_guest_without_a_memory_has_none(host: Host) -> None:
    seen = []
    host.define("look", (), (), lambda caller, _: seen.append(binding.guest_memory(caller)))
    host.run('(module (import "host" "look" (func $look)) (func (export "go") (call $look)))')
    assert seen == [(0, 0)]


GO = '(module $app (import "host" "f" (func $f)) (func $inner (call $f)) (func (export "go") (call $inner)))'


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_in_a_host_function_ends_the_guest(host: Host, error: BaseException) -> None:
    def fail(_caller: int, _values: Any) -> None:
        raise error

    host.define("f", (), (), fail)
    with pytest.raises(EngineError, match=f"host function f: {type(error).__name__}") as caught:
        host.run(GO)
    assert [frame.split(" at ")[0] for frame in caught.value.frames] == ["app!inner", "app!function 2"]


def test_a_trap_of_a_host_function_ends_the_guest(host: Host) -> None:
    host.define("f", (), (), lambda _caller, _values: binding.new_trap("enough of this"))
    with pytest.raises(EngineError, match="enough of this"):
        host.run(GO)


def test_a_trap_has_a_code_and_frames(host: Host) -> None:
    with pytest.raises(EngineError) as caught:
        host.run('(module $m (func $boom unreachable) (func (export "go") (call $boom)))')
    assert caught.value.code == 9
    assert caught.value.exit_status is None
    assert caught.value.frames[0].startswith("m!boom at 0x")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
        ("_ZN3app4mainE", "app::main"),
        ("main.main", "main.main"),
        ("_Z3fooi", "_Z3fooi"),
        ("_ZN3E", "_ZN3E"),
        ("_ZNxE", "_ZNxE"),
        ("", ""),
    ],
)
def test_names_of_rust_are_shown_as_they_were_written(name: str, shown: str) -> None:
    assert binding._demangled(name) == shown


@given(st.text(alphabet="_ZNE0123456789abh", max_size=40))
def test_any_name_can_be_shown(name: str) -> None:
    assert isinstance(binding._demangled("_ZN" + name + "E"), str)
