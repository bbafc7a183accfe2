"""The C functions of wasmtime that Sampan needs, and the few shapes that go with them.

The shared library comes from the wheel `wasmtime`; its Python package is never imported (it costs 57 ms at
start and breaks copy-on-write after a fork). Every pointer to an engine's object is a plain `int` here, so
that nothing is allocated for it. What this module does not do: own objects, or know WASI. Reference: the
headers `wasm.h`, `wasmtime.h` and `wasi.h` of the C API, version 50.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    Union,
    byref,
    c_bool,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)

from sampan.core.errors import Unavailable, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Callback = Any  # a ctypes function pointer
    HostFunction = Callable[[int, Any], "int | None"]
    Kinds = tuple[int, ...]


class Bytes(Structure):
    """`wasm_byte_vec_t`: bytes that the engine owns until `take_bytes`."""

    _fields_ = [("size", c_size_t), ("data", c_void_p)]


class Vector(Structure):
    """`wasm_*_vec_t` of pointers: frames, imports, exports, value types."""

    _fields_ = [("size", c_size_t), ("data", POINTER(c_void_p))]


class Function(Structure):
    """`wasmtime_func_t`: a handle, valid in the store that it came from."""

    _fields_ = [("store_id", c_uint64), ("_private", c_void_p)]


class Instance(Structure):
    """`wasmtime_instance_t`."""

    _fields_ = [("store_id", c_uint64), ("_private", c_size_t)]


class Memory(Structure):
    """`wasmtime_memory_t`."""

    _fields_ = [("store_id", c_uint64), ("_private", c_uint64), ("_private2", c_uint64)]


class _ExternUnion(Union):
    _fields_ = [("func", Function), ("memory", Memory)]


class Extern(Structure):
    """`wasmtime_extern_t`: something exported; `kind` is one of `EXTERN_*`."""

    _fields_ = [("kind", c_uint8), ("of", _ExternUnion)]


EXTERN_FUNC, EXTERN_GLOBAL, EXTERN_TABLE, EXTERN_MEMORY, EXTERN_SHARED_MEMORY, EXTERN_TAG = range(6)
I32, I64, F32, F64 = range(4)  # wasm_valkind_t

Values = POINTER(c_uint64)
"""Arguments and results of a host function: `wasmtime_val_raw_t`, 16 bytes each, so value N is at `[2 * N]`.

An i32 is in the low half: read it as `values[2 * n] & 0xFFFFFFFF` and write any non-negative int.
"""

HostCallback = CFUNCTYPE(c_size_t, c_void_p, c_void_p, Values, c_size_t)


def library_path() -> str:
    """Where the wheel's shared library is.

    Raises:
        Unavailable: no wheel on `sys.path`, or none for this machine.
    """
    machine = os.uname().machine
    inside = f"wasmtime/linux-{machine}/_libwasmtime.so"
    for folder in sys.path:
        path = f"{folder or '.'}/{inside}"
        if os.path.isfile(path):
            return path
    raise Unavailable(
        f"the engine's library {inside} is not there",
        fix="install the wheel 'wasmtime' (x86-64 and arm64 Linux have one) beside sampan",
    )


def _load() -> ctypes.CDLL:
    path = library_path()
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise Unavailable(f"the engine's library {path} cannot be loaded: {error}") from error


LIBRARY = _load()

_P = c_void_p
_OUT = POINTER(c_void_p)
_NAME = (c_char_p, c_size_t)

# name -> (result, arguments); None as result is void. Errors are `wasmtime_error_t *` or NULL.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    # configuration and engine
    "wasm_config_new": (_P,),
    "wasm_engine_new_with_config": (_P, _P),
    "wasm_engine_delete": (None, _P),
    "wasmtime_config_parallel_compilation_set": (None, _P, c_bool),
    "wasmtime_config_consume_fuel_set": (None, _P, c_bool),
    "wasmtime_config_epoch_interruption_set": (None, _P, c_bool),
    "wasmtime_config_max_wasm_stack_set": (None, _P, c_size_t),
    "wasmtime_config_async_stack_size_set": (None, _P, c_size_t),
    "wasmtime_engine_increment_epoch": (None, _P),
    # code
    "wasmtime_wat2wasm": (_P, c_char_p, c_size_t, POINTER(Bytes)),
    "wasmtime_module_new": (_P, _P, _P, c_size_t, _OUT),
    "wasmtime_module_validate": (_P, _P, _P, c_size_t),
    "wasmtime_module_serialize": (_P, _P, POINTER(Bytes)),
    "wasmtime_module_deserialize": (_P, _P, _P, c_size_t, _OUT),
    "wasmtime_module_deserialize_file": (_P, _P, c_char_p, _OUT),
    "wasmtime_module_imports": (None, _P, POINTER(Vector)),
    "wasmtime_module_exports": (None, _P, POINTER(Vector)),
    "wasmtime_module_delete": (None, _P),
    "wasm_importtype_module": (POINTER(Bytes), _P),
    "wasm_importtype_name": (POINTER(Bytes), _P),
    "wasm_importtype_type": (_P, _P),
    "wasm_importtype_vec_delete": (None, POINTER(Vector)),
    "wasm_exporttype_name": (POINTER(Bytes), _P),
    "wasm_exporttype_type": (_P, _P),
    "wasm_exporttype_vec_delete": (None, POINTER(Vector)),
    "wasm_externtype_kind": (c_uint8, _P),
    "wasm_externtype_as_functype_const": (_P, _P),
    "wasm_functype_params": (POINTER(Vector), _P),
    "wasm_functype_results": (POINTER(Vector), _P),
    "wasm_valtype_kind": (c_uint8, _P),
    # components
    "wasmtime_component_new": (_P, _P, _P, c_size_t, _OUT),
    "wasmtime_component_serialize": (_P, _P, POINTER(Bytes)),
    "wasmtime_component_deserialize": (_P, _P, _P, c_size_t, _OUT),
    "wasmtime_component_deserialize_file": (_P, _P, c_char_p, _OUT),
    "wasmtime_component_delete": (None, _P),
    "wasmtime_component_get_export_index": (_P, _P, _P, *_NAME),
    "wasmtime_component_export_index_delete": (None, _P),
    "wasmtime_component_type": (_P, _P),
    "wasmtime_component_type_delete": (None, _P),
    "wasmtime_component_type_export_count": (c_size_t, _P, _P),
    "wasmtime_component_type_export_nth": (
        c_bool, _P, _P, c_size_t, POINTER(c_void_p), POINTER(c_size_t), _OUT,
    ),
    "wasmtime_component_extern_delete": (None, _P),
    "wasmtime_component_linker_new": (_P, _P),
    "wasmtime_component_linker_delete": (None, _P),
    "wasmtime_component_linker_add_wasip2": (_P, _P),
    "wasmtime_component_linker_instantiate": (_P, _P, _P, _P, POINTER(Instance)),
    "wasmtime_component_instance_get_func": (c_bool, POINTER(Instance), _P, _P, _P),
    "wasmtime_component_func_type": (_P, _P, _P),
    "wasmtime_component_func_type_delete": (None, _P),
    "wasmtime_component_func_type_param_count": (c_size_t, _P),
    "wasmtime_component_func_type_param_nth": (
        c_bool, _P, c_size_t, POINTER(c_void_p), POINTER(c_size_t), _P,
    ),
    "wasmtime_component_func_type_result": (c_bool, _P, _P),
    "wasmtime_component_valtype_delete": (None, _P),
    "wasmtime_component_func_call": (_P, _P, _P, _P, c_size_t, _P, c_size_t),
    "wasmtime_component_val_delete": (None, _P),
    # linker
    "wasmtime_linker_new": (_P, _P),
    "wasmtime_linker_clone": (_P, _P),
    "wasmtime_linker_delete": (None, _P),
    "wasmtime_linker_allow_shadowing": (None, _P, c_bool),
    "wasmtime_linker_define_wasi": (_P, _P),
    "wasmtime_linker_define_func_unchecked": (_P, _P, *_NAME, *_NAME, _P, HostCallback, _P, _P),
    "wasmtime_linker_define": (_P, _P, _P, *_NAME, *_NAME, POINTER(Extern)),
    "wasmtime_linker_get": (c_bool, _P, _P, *_NAME, *_NAME, POINTER(Extern)),
    "wasmtime_linker_instantiate": (_P, _P, _P, _P, POINTER(Instance), _OUT),
    "wasmtime_linker_instantiate_pre": (_P, _P, _P, _OUT),
    "wasmtime_instance_pre_instantiate": (_P, _P, _P, POINTER(Instance), _OUT),
    "wasmtime_instance_pre_delete": (None, _P),
    "wasmtime_instance_new": (_P, _P, _P, POINTER(Extern), c_size_t, POINTER(Instance), _OUT),
    "wasm_functype_new": (_P, POINTER(Vector), POINTER(Vector)),
    "wasm_functype_delete": (None, _P),
    "wasm_valtype_new": (_P, c_uint8),
    "wasm_valtype_vec_new_uninitialized": (None, POINTER(Vector), c_size_t),
    # store and calls
    "wasmtime_store_new": (_P, _P, _P, _P),
    "wasmtime_store_delete": (None, _P),
    "wasmtime_store_context": (_P, _P),
    "wasmtime_store_limiter": (None, _P, c_int64, c_int64, c_int64, c_int64, c_int64),
    "wasmtime_context_get_data": (_P, _P),
    "wasmtime_context_set_epoch_deadline": (None, _P, c_uint64),
    "wasmtime_context_set_fuel": (_P, _P, c_uint64),
    "wasmtime_context_set_wasi": (_P, _P, _P),
    "wasmtime_func_type": (_P, _P, POINTER(Function)),
    "wasmtime_func_call_unchecked": (_P, _P, POINTER(Function), Values, c_size_t, _OUT),
    "wasmtime_instance_export_get": (c_bool, _P, POINTER(Instance), *_NAME, POINTER(Extern)),
    "wasmtime_caller_context": (_P, _P),
    "wasmtime_caller_export_get": (c_bool, _P, *_NAME, POINTER(Extern)),
    "wasmtime_memory_data": (_P, _P, POINTER(Memory)),
    "wasmtime_memory_data_size": (c_size_t, _P, POINTER(Memory)),
    # WASI
    "wasi_config_new": (_P,),
    "wasi_config_delete": (None, _P),
    "wasi_config_set_argv": (c_bool, _P, c_size_t, POINTER(c_char_p)),
    "wasi_config_set_env": (c_bool, _P, c_size_t, POINTER(c_char_p), POINTER(c_char_p)),
    "wasi_config_inherit_stdin": (None, _P),
    "wasi_config_inherit_stdout": (None, _P),
    "wasi_config_inherit_stderr": (None, _P),
    "wasi_config_preopen_dir": (c_bool, _P, c_char_p, c_char_p, c_bool),
    "wasi_config_inherit_network": (None, _P),
    "wasi_config_allow_ip_name_lookup": (None, _P, c_bool),
    # errors, traps, frames
    "wasm_byte_vec_delete": (None, POINTER(Bytes)),
    "wasmtime_error_new": (_P, c_char_p),
    "wasmtime_error_message": (None, _P, POINTER(Bytes)),
    "wasmtime_error_exit_status": (c_bool, _P, POINTER(c_int)),
    "wasmtime_error_wasm_trace": (None, _P, POINTER(Vector)),
    "wasmtime_error_delete": (None, _P),
    "wasmtime_trap_new": (_P, *_NAME),
    "wasmtime_trap_code": (c_bool, _P, POINTER(c_uint8)),
    "wasm_trap_message": (None, _P, POINTER(Bytes)),
    "wasm_trap_trace": (None, _P, POINTER(Vector)),
    "wasm_trap_delete": (None, _P),
    "wasmtime_frame_func_name": (POINTER(Bytes), _P),
    "wasmtime_frame_module_name": (POINTER(Bytes), _P),
    "wasm_frame_func_index": (c_uint32, _P),
    "wasm_frame_module_offset": (c_size_t, _P),
    "wasm_frame_vec_delete": (None, POINTER(Vector)),
}  # fmt: skip


class _Functions:
    """The functions above, by their C names; each is bound when it is first asked for: all cost 1 ms."""

    def __getattr__(self, name: str) -> Any:
        result, *arguments = _SIGNATURES[name]
        function = getattr(LIBRARY, name)
        function.restype = result
        function.argtypes = arguments
        setattr(self, name, function)
        return function


C: Any = _Functions()


def bind_all() -> None:
    """Binds every function now, for a process that forks: its children share what that takes."""
    for name in _SIGNATURES:
        getattr(C, name)


class EngineError(Exception):
    """What the engine reported: an error, a trap, or a guest's exit. Never leaves this room.

    `code` is the trap's number (`TRAP_*`) or None, `exit_status` the status of a WASI exit or None,
    `frames` the Wasm backtrace, innermost first, one line each.
    """

    def __init__(self, text: str, code: int | None, exit_status: int | None, frames: list[str]) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.exit_status = exit_status
        self.frames = frames


TRAP_INTERRUPT, TRAP_OUT_OF_FUEL = 10, 11
UNKNOWN_OFFSET = (1 << 64) - 1


def take_bytes(vector: Bytes) -> bytes:
    """The vector's content; the engine's copy is freed."""
    data = ctypes.string_at(vector.data, vector.size) if vector.size else b""
    C.wasm_byte_vec_delete(byref(vector))
    return data


def read_name(pointer: Any) -> str:
    """The text behind a `wasm_name_t *` that the engine keeps; "" for NULL."""
    if not pointer or not pointer.contents.size:
        return ""
    name = pointer.contents
    return ctypes.string_at(name.data, name.size).decode("utf-8", "replace")


def check(error: int | None, trap: c_void_p | None = None) -> None:
    """Nothing when neither is set; both are freed.

    Raises:
        EngineError: what the error or the trap says.
    """
    if error:
        raise _from_error(error)
    if trap is not None and trap.value:
        raise _from_trap(trap.value)


def _from_error(error: int) -> EngineError:
    text, status, frames = Bytes(), c_int(), Vector()
    C.wasmtime_error_message(error, byref(text))
    exited = C.wasmtime_error_exit_status(error, byref(status))
    C.wasmtime_error_wasm_trace(error, byref(frames))
    failure = EngineError(_text(text), None, status.value if exited else None, _take_frames(frames))
    C.wasmtime_error_delete(error)
    return failure


def _from_trap(trap: int) -> EngineError:
    text, code, frames = Bytes(), c_uint8(), Vector()
    C.wasm_trap_message(trap, byref(text))
    known = C.wasmtime_trap_code(trap, byref(code))
    C.wasm_trap_trace(trap, byref(frames))
    failure = EngineError(_text(text), code.value if known else None, None, _take_frames(frames))
    C.wasm_trap_delete(trap)
    return failure


def _text(message: Bytes) -> str:
    return take_bytes(message).rstrip(b"\0").decode("utf-8", "replace")


def _take_frames(frames: Vector) -> list[str]:
    """One line a frame: the function's name or index, and where in the module it is."""
    lines = []
    for i in range(frames.size):
        frame = frames.data[i]
        module = read_name(C.wasmtime_frame_module_name(frame)) or "module"
        function = read_name(C.wasmtime_frame_func_name(frame))
        index, offset = C.wasm_frame_func_index(frame), C.wasm_frame_module_offset(frame)
        where = "" if offset == UNKNOWN_OFFSET else f" at 0x{offset:x}"
        lines.append(printable(f"{module}!{_demangled(function) or f'function {index}'}{where}"))
    C.wasm_frame_vec_delete(byref(frames))
    return lines


def _demangled(name: str) -> str:
    """Rust's `_ZN4core3fmt5write17h0123456789abcdefE` as `core::fmt::write`; any other name as it is."""
    if not name.startswith("_ZN") or not name.endswith("E"):
        return name
    parts, rest = [], name[3:-1]
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        length = int(rest[:digits] or 0)
        if not 0 < length <= len(rest) - digits:
            return name
        parts.append(rest[digits : digits + length])
        rest = rest[digits + length :]
    if len(parts) > 1 and len(parts[-1]) == 17 and parts[-1].startswith("h"):
        parts.pop()
    return "::".join(parts)


def new_trap(text: str) -> int:
    """A trap for a host function to return; the guest ends with it."""
    data = text.encode("utf-8", "replace")
    trap: int = C.wasmtime_trap_new(data, len(data))
    return trap


def define_function(
    linker: int,
    module: str,
    name: str,
    params: tuple[int, ...],
    results: tuple[int, ...],
    function: HostFunction,
) -> Callback:
    """Put a host function under `module`.`name` in the linker.

    Args:
        params, results: value kinds, such as `(I32, I32)`.
        function: called as `function(caller, values)`; reads its arguments from `values` and writes its
            results there (see `Values`). It returns None to go on, or `new_trap(...)` to end the guest. An
            exception ends the guest too.

    Returns:
        the C callback: keep it as long as the linker, and every store made from it, lives.
    """

    def guarded(_data: int, caller: int, values: Any, _count: int) -> int:
        try:
            return function(caller, values) or 0
        except BaseException as error:  # ctypes would print it and go on with the guest
            return new_trap(f"host function {name}: {type(error).__name__}: {error}")

    callback = HostCallback(guarded)
    kind = C.wasm_functype_new(byref(_kinds(params)), byref(_kinds(results)))
    inside, inner = module.encode(), name.encode()
    error = C.wasmtime_linker_define_func_unchecked(
        linker, inside, len(inside), inner, len(inner), kind, callback, None, None
    )
    C.wasm_functype_delete(kind)
    check(error)
    return callback


def _kinds(kinds: tuple[int, ...]) -> Vector:
    vector = Vector()
    C.wasm_valtype_vec_new_uninitialized(byref(vector), len(kinds))
    for i, kind in enumerate(kinds):
        vector.data[i] = C.wasm_valtype_new(kind)
    return vector


def guest_memory(caller: int) -> tuple[int, int]:
    """Address and size in bytes of the calling guest's memory, good until the guest runs again.

    Both change when the guest grows its memory: ask again in every call. (0, 0) when it exports none.
    """
    item = Extern()
    if not C.wasmtime_caller_export_get(caller, b"memory", 6, byref(item)) or item.kind != EXTERN_MEMORY:
        return 0, 0
    context = C.wasmtime_caller_context(caller)
    memory = byref(item.of.memory)
    return C.wasmtime_memory_data(context, memory) or 0, C.wasmtime_memory_data_size(context, memory)
