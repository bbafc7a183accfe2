"""Compiled code, in and out of the engine: the only place that calls its `serialize` and `deserialize`."""

from __future__ import annotations

from ctypes import byref, c_void_p

from sampan.core.errors import Invalid
from sampan.engine.binding import Bytes, C, EngineError, check, take_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine.tuning import Tuning


def serialize(source: bytes, kind: str, tuning: Tuning) -> bytes:
    """The compiled form of a Wasm binary. It uses all processors and all the memory it likes: see `compiler`.

    Raises:
        Invalid: it is not a valid binary; the text has the offset.
    """
    from sampan.engine.store import cause
    from sampan.engine.tuning import new_engine

    engine = new_engine(tuning, parallel=True)
    code, out = c_void_p(), Bytes()
    try:
        if kind == "component":
            check(C.wasmtime_component_new(engine, source, len(source), byref(code)))
            check(C.wasmtime_component_serialize(code, byref(out)))
        else:
            check(C.wasmtime_module_new(engine, source, len(source), byref(code)))
            check(C.wasmtime_module_serialize(code, byref(out)))
    except EngineError as error:
        raise Invalid(cause(error.text).removeprefix("failed to parse WebAssembly module: ")) from error
    return take_bytes(out)


def map_code(engine: int, fd: int, kind: str) -> int:
    """Map trusted compiled code from an open file: the engine checks none of it.

    Returns:
        the C module or component, which outlives the descriptor.

    Raises:
        EngineError: it is for another engine, processor or configuration.
    """
    path, code = b"/proc/self/fd/%d" % fd, c_void_p()
    if kind == "component":
        check(C.wasmtime_component_deserialize_file(engine, path, byref(code)))
    else:
        check(C.wasmtime_module_deserialize_file(engine, path, byref(code)))
    assert code.value is not None
    return code.value


def wat_to_wasm(text: bytes) -> bytes:
    """The binary of a module or component in the text format.

    Raises:
        Invalid: it is not in the text format; the message has the line and column.
    """
    out = Bytes()
    try:
        check(C.wasmtime_wat2wasm(text, len(text), byref(out)))
    except EngineError as error:
        what, _, where = error.text.partition("\n")
        place = where.strip().splitlines()[0].strip().removeprefix("--> <anon>:") if where.strip() else "1:1"
        raise Invalid(f"the text is not WebAssembly: {what} at line and column {place}") from error
    return take_bytes(out)
