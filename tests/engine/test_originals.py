"""WASI's own functions behind functions of ours."""

from __future__ import annotations

import os
from ctypes import byref, c_uint64, c_void_p
from typing import Any

import pytest

from sampan.engine.binding import I32, C, EngineError, Extern, Instance, check, define_function
from sampan.engine.code import wat_to_wasm
from sampan.engine.originals import Forwarder
from sampan.engine.tuning import Tuning, new_engine

WASI = "wasi_snapshot_preview1"
GUEST = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory {export} 1)
  (data (i32.const 0) "\\08\\00\\00\\00\\06\\00\\00\\00hello\\n")
  (func (export "go") (result i32)
    (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 20))))"""


class Shadowed:
    """A linker whose `fd_write` is ours and passes every call on."""

    def __init__(self) -> None:
        self.engine = new_engine(Tuning())
        self.base = C.wasmtime_linker_new(self.engine)
        check(C.wasmtime_linker_define_wasi(self.base))
        self.linker = C.wasmtime_linker_clone(self.base)
        C.wasmtime_linker_allow_shadowing(self.linker, True)
        self.forwarder = Forwarder(self.engine, self.base, {"fd_write": "iiii", "fd_close": "i"})
        self.originals = self.forwarder.originals()
        self.calls = 0
        self.callback = define_function(self.linker, WASI, "fd_write", (I32,) * 4, (I32,), self.fd_write)

    def fd_write(self, caller: int, values: Any) -> int | None:
        self.calls += 1
        return self.originals.call("fd_write", caller, values)

    def run(self, text: str, times: int = 1) -> list[int]:
        self.originals = self.forwarder.originals()
        code, module, instance = wat_to_wasm(text.encode()), c_void_p(), Instance()
        trap, function = c_void_p(), Extern()
        check(C.wasmtime_module_new(self.engine, code, len(code), byref(module)))
        store = C.wasmtime_store_new(self.engine, None, None)
        context = C.wasmtime_store_context(store)
        config = C.wasi_config_new()
        C.wasi_config_inherit_stdout(config)
        check(C.wasmtime_context_set_wasi(context, config))
        try:
            check(
                C.wasmtime_linker_instantiate(self.linker, context, module, byref(instance), byref(trap)),
                trap,
            )
            C.wasmtime_instance_export_get(context, byref(instance), b"go", 2, byref(function))
            results = []
            for _ in range(times):
                values = (c_uint64 * 2)()
                check(
                    C.wasmtime_func_call_unchecked(context, byref(function.of.func), values, 1, byref(trap)),
                    trap,
                )
                results.append(values[0])
            return results
        finally:
            C.wasmtime_store_delete(store)


def test_calls_are_passed_on_with_the_guests_memory(capfd: pytest.CaptureFixture[str]) -> None:
    world = Shadowed()
    assert world.run(GUEST.format(export='(export "memory")', fd=1), times=3) == [0, 0, 0]
    assert world.calls == 3
    assert capfd.readouterr().out == "hello\n" * 3


def test_each_store_is_bound_to_its_own_guest(capfd: pytest.CaptureFixture[str]) -> None:
    world = Shadowed()
    world.run(GUEST.format(export='(export "memory")', fd=1))
    world.run(GUEST.format(export='(export "memory")', fd=1).replace("hello", "again"))
    assert capfd.readouterr().out == "hello\nagain\n"


def test_errnos_come_back() -> None:
    assert Shadowed().run(GUEST.format(export='(export "memory")', fd=99)) == [8]


def test_a_guest_without_a_memory_is_told_as_wasi_does() -> None:
    with pytest.raises(EngineError, match="missing required memory export"):
        Shadowed().run(GUEST.format(export="", fd=1))


def test_what_was_made_before_a_fork_works_after_it() -> None:
    world = Shadowed()
    child = os.fork()
    if child == 0:
        os._exit(world.run(GUEST.format(export='(export "memory")', fd=99))[0])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8
