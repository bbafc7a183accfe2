"""WASI's own functions, for host functions that shadow them and want to pass a call on.

WASI looks for the memory in the instance that called it. A host function is no instance, so calling the
original from one fails ("missing required memory export"). Calls are therefore passed through a small Wasm
instance that borrows the guest's memory and does nothing but forward. Knows no socket and no descriptor.
"""

from __future__ import annotations

from ctypes import byref, c_void_p

from sampan.engine.binding import (
    EXTERN_MEMORY,
    Bytes,
    C,
    EngineError,
    Extern,
    Instance,
    check,
    new_trap,
    take_bytes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WASI = b"wasi_snapshot_preview1"


class Forwarder:
    """The forwarding code for some functions, compiled once for an engine: make it before a fork or a jail.

    Args:
        engine: the C engine.
        linker: a linker that has WASI and no shadowing; must outlive this object.
        signatures: for each function of WASI preview 1 its parameters, `i` for i32 and `I` for i64,
            such as `{"fd_write": "iiii"}`; every result is one i32.
    """

    def __init__(self, engine: int, linker: int, signatures: dict[str, str]) -> None:
        self.linker = linker
        self.names = list(signatures)
        self.counts = {name: max(len(params), 1) for name, params in signatures.items()}
        text, wasm, module = _forwarding_text(signatures), Bytes(), c_void_p()
        check(C.wasmtime_wat2wasm(text, len(text), byref(wasm)))
        code = take_bytes(wasm)
        check(C.wasmtime_module_new(engine, code, len(code), byref(module)))
        self.module = module.value

    def originals(self) -> Originals:
        """WASI's functions for one store."""
        return Originals(self)


class Originals:
    """WASI's functions in one store; bound to the guest's memory at the first call."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._functions: dict[str, Extern] = {}

    def call(self, name: str, caller: int, values: Any) -> int | None:
        """Pass a call on: `values` are the arguments, and afterwards hold the result.

        Returns:
            None, or a trap for the host function to return.
        """
        context = C.wasmtime_caller_context(caller)
        trap = c_void_p()
        try:
            function = self._functions.get(name) or self._bind(name, caller, context)
            count = self._forwarder.counts[name]
            check(
                C.wasmtime_func_call_unchecked(context, byref(function.of.func), values, count, byref(trap))
            )
        except EngineError as error:
            return new_trap(error.text)
        return trap.value

    def _bind(self, name: str, caller: int, context: int) -> Extern:
        forwarder = self._forwarder
        imports = (Extern * (1 + len(forwarder.names)))()
        found = C.wasmtime_caller_export_get(caller, b"memory", 6, byref(imports[0]))
        if not found or imports[0].kind != EXTERN_MEMORY:
            raise EngineError("missing required memory export", None, None, [])
        for item, wanted in zip((imports[i] for i in range(1, len(imports))), forwarder.names):
            inner = wanted.encode()
            C.wasmtime_linker_get(forwarder.linker, context, WASI, len(WASI), inner, len(inner), byref(item))
        instance, trap = Instance(), c_void_p()
        check(
            C.wasmtime_instance_new(
                context, forwarder.module, imports, len(imports), byref(instance), byref(trap)
            ),
            trap,
        )
        for wanted in forwarder.names:
            inner, item = wanted.encode(), Extern()
            C.wasmtime_instance_export_get(context, byref(instance), inner, len(inner), byref(item))
            self._functions[wanted] = item
        return self._functions[name]


def _forwarding_text(signatures: dict[str, str]) -> bytes:
    """A module that imports the guest's memory and the functions, and exports a caller of each."""
    kinds = {"i": "i32", "I": "i64"}
    imports, callers = [], []
    for name, params in signatures.items():
        types = " ".join(kinds[p] for p in params)
        imports.append(f'(import "wasi" "{name}" (func ${name} (param {types}) (result i32)))')
        gets = " ".join(f"(local.get {i})" for i in range(len(params)))
        callers.append(f'(func (export "{name}") (param {types}) (result i32) (call ${name} {gets}))')
    lines = ['(module (import "guest" "memory" (memory 0))', *imports, '(export "memory" (memory 0))']
    return "\n".join([*lines, *callers, ")"]).encode()
