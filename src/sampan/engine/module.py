"""A loaded core module with WASI preview 1: its imports and its entry are checked once, then it is run."""

from __future__ import annotations

from ctypes import byref, c_uint64, c_void_p

from sampan.core.errors import Precondition
from sampan.engine import invocation
from sampan.engine.binding import (
    EXTERN_FUNC,
    I32,
    C,
    EngineError,
    Extern,
    Instance,
    Vector,
    check,
    read_name,
)
from sampan.engine.grants import Ending
from sampan.engine.store import Store, cause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.engine.grants import Grants, OnBind
    from sampan.engine.program import Engine
    from sampan.engine.sockets import Sockets

    Type = tuple[tuple[int, ...], tuple[int, ...]]

WASI = "wasi_snapshot_preview1"
START, INITIALIZE = "_start", "_initialize"
LETTERS = "iIfFr"  # of i32, i64, f32, f64, a reference
SHOWN_EXPORTS = 10


class Module:
    """A core module that is ready to run.

    Raises:
        Precondition: an import or the entry is missing or has another type (exit code 126).
    """

    kind = "module"

    def __init__(self, engine: Engine, code: int, entry: str, name: str) -> None:
        self._engine = engine
        self._code = code
        self._linked = c_void_p()
        self._entry = entry or START
        functions = _exported_functions(code, (self._entry, INITIALIZE))
        self._params, self._results = _check_entry(functions, self._entry, name)
        self._initializes = START not in functions and functions.get(INITIALIZE) == ((), ())
        self._sockets = _sockets(engine, code)
        linker = self._sockets.linker if self._sockets else engine.linker
        try:
            check(C.wasmtime_linker_instantiate_pre(linker, code, byref(self._linked)))
        except EngineError as error:
            raise Precondition(f"{name} cannot be linked: {cause(error.text)}", exit_code=126) from error

    def run(self, grants: Grants, on_bind: OnBind | None = None) -> Ending:
        """See `Program.run`."""
        is_command = not self._params and self._results in ((), (I32,))
        what = f"the function {self._entry!r}"
        arguments = [] if not self._params else invocation.take(grants.args[1:], self._params, what)
        store = Store(self._engine, grants, network=False)
        if self._sockets:
            self._sockets.begin(store.number, grants.network, on_bind)
        try:
            try:
                instance = self._instantiate(store)
            except EngineError as error:
                refusal = store.refusal(error)
                if refusal is not None:
                    raise refusal from error
                return store.ending(error)
            try:
                if self._initializes:
                    _call(store.context, instance, INITIALIZE)
                results = _call(store.context, instance, self._entry, arguments, len(self._results))
            except EngineError as error:
                return store.ending(error)
            if is_command:
                return Ending(results[0] & 0xFF if results else 0, "exited")
            invocation.emit([invocation.told(*pair) for pair in zip(results, self._results, strict=True)])
            return Ending(0, "exited")
        finally:
            if self._sockets:
                self._sockets.end(store.number)
            store.close()

    def __del__(self) -> None:  # the code keeps memory and a descriptor
        if self._linked.value:
            C.wasmtime_instance_pre_delete(self._linked)
        C.wasmtime_module_delete(self._code)

    def _instantiate(self, store: Store) -> Instance:
        instance, trap = Instance(), c_void_p()
        error = C.wasmtime_instance_pre_instantiate(self._linked, store.context, byref(instance), byref(trap))
        check(error, trap)
        return instance


def _call(
    context: int, instance: Instance, name: str, arguments: Sequence[int] = (), results: int = 0
) -> list[int]:
    """Call an exported function; the bits of its results."""
    function, inner, trap = Extern(), name.encode(), c_void_p()
    C.wasmtime_instance_export_get(context, byref(instance), inner, len(inner), byref(function))
    size = max(1, len(arguments), results)
    values = (c_uint64 * (2 * size))()
    values[: 2 * len(arguments) : 2] = list(arguments)
    check(C.wasmtime_func_call_unchecked(context, byref(function.of.func), values, size, byref(trap)), trap)
    return [int(values[2 * number]) for number in range(results)]


def _check_entry(functions: dict[str, Type | None], entry: str, name: str) -> Type:
    """What the entry takes and returns."""
    found = functions.get(entry)
    if found is None:
        there = [f for f in functions if f != INITIALIZE][:SHOWN_EXPORTS]
        fix = (
            f"name one of its functions: FILE#{there[0]}" if there else "build it as a command, not a library"
        )
        has = ", ".join(there) or "none"
        raise Precondition(f"{name} exports no function {entry!r} (it has: {has})", fix=fix, exit_code=126)
    params, results = found
    if entry == START and (params or results):
        raise Precondition(
            f"the function {entry!r} of {name} takes {len(params)} values and returns {len(results)}",
            fix="it has to take and return nothing",
            exit_code=126,
        )
    if any(kind not in invocation.NAMES for kind in (*params, *results)):
        raise Precondition(
            f"the function {entry!r} of {name} takes or returns what is no number, so it cannot be called by words",
            exit_code=126,
        )
    return params, results


def _sockets(engine: Engine, code: int) -> Sockets | None:
    """The socket functions for a module that was written for them."""
    imports = _imports_from_wasi(code)
    if not any(name.startswith("sock_") for name in imports):
        return None
    from sampan.engine.sockets import Sockets, uses_sockets

    return Sockets(engine.pointer, engine.linker, imports) if uses_sockets(imports) else None


def _imports_from_wasi(code: int) -> dict[str, str]:
    """The functions imported from WASI preview 1, with their parameters as letters."""
    imports = Vector()
    C.wasmtime_module_imports(code, byref(imports))
    functions = {}
    for i in range(imports.size):
        item = imports.data[i]
        what = C.wasm_importtype_type(item)
        if C.wasm_externtype_kind(what) == EXTERN_FUNC and read_name(C.wasm_importtype_module(item)) == WASI:
            params = _kinds(C.wasm_functype_params(C.wasm_externtype_as_functype_const(what))[0])
            functions[read_name(C.wasm_importtype_name(item))] = "".join(
                LETTERS[min(kind, 4)] for kind in params
            )
    C.wasm_importtype_vec_delete(byref(imports))
    return functions


def _exported_functions(code: int, wanted: tuple[str, ...]) -> dict[str, Type | None]:
    """The exported functions by name, with the types of those that are `wanted`: the C API aborts on a vector's."""
    exports = Vector()
    C.wasmtime_module_exports(code, byref(exports))
    functions: dict[str, Type | None] = {}
    for i in range(exports.size):
        export = exports.data[i]
        kind = C.wasm_exporttype_type(export)
        if C.wasm_externtype_kind(kind) == EXTERN_FUNC:
            name = read_name(C.wasm_exporttype_name(export))
            functions[name] = None
            if name in wanted:
                function = C.wasm_externtype_as_functype_const(kind)
                params, results = C.wasm_functype_params(function), C.wasm_functype_results(function)
                functions[name] = _kinds(params[0]), _kinds(results[0])
    C.wasm_exporttype_vec_delete(byref(exports))
    return functions


def _kinds(types: Vector) -> tuple[int, ...]:
    return tuple(C.wasm_valtype_kind(types.data[i]) for i in range(types.size))
