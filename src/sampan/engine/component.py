"""A loaded component of the component model, with wasmtime's WASI 0.2: its entry is found once, then it is run."""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_size_t, c_uint64, c_void_p

from sampan.core.errors import Precondition, Unimplemented
from sampan.engine import component_values as values
from sampan.engine import invocation
from sampan.engine.binding import C, EngineError, Instance, check
from sampan.engine.grants import Ending
from sampan.engine.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine.grants import Grants, Network, OnBind
    from sampan.engine.program import Engine

COMMAND = "wasi:cli/run@0.2."
HTTP = "wasi:http/incoming-handler@"
SHOWN_EXPORTS = 10
EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, never bound


class _Function(Structure):
    """`wasmtime_component_func_t`."""

    _fields_ = [("_private", c_uint64 * 4)]


class Component:
    """A component that is ready to run.

    Raises:
        Precondition: there is no such entry (exit code 126).
    """

    kind = "component"

    def __init__(self, engine: Engine, code: int, entry: str, name: str) -> None:
        self._engine = engine
        self._code = code
        self._export = 0
        self._name = name
        self._linker = engine.component_linker
        self._path = entry or _find_command(_exports(engine.pointer, code), name)
        self._export = _find_export(code, self._path, name)

    def run(self, grants: Grants, on_bind: OnBind | None = None) -> Ending:
        """See `Program.run`."""
        store = Store(self._engine, grants, network=_whole_network(grants.network))
        instance = Instance()
        try:
            try:
                check(
                    C.wasmtime_component_linker_instantiate(
                        self._linker, store.context, self._code, byref(instance)
                    )
                )
            except EngineError as error:
                refusal = store.refusal(error)
                if refusal is not None:
                    raise refusal from error
                return store.ending(error)
            function, params, results = self._function(store.context, instance)
            what = f"the function {self._path!r}"
            arguments = values.Arguments(grants.args[1:], params, what)
            try:
                code, told = _call(store.context, function, arguments, results)
                invocation.emit([told] if told else [])
                return Ending(code, "exited")
            except EngineError as error:
                return store.ending(error)
        finally:
            store.close()

    def __del__(self) -> None:  # the code keeps memory and a descriptor
        if self._export:
            C.wasmtime_component_export_index_delete(self._export)
        C.wasmtime_component_delete(self._code)

    def _function(self, context: int, instance: Instance) -> tuple[_Function, list[int], int]:
        """The entry in an instance, the kinds of its parameters' types, and how many results it has."""
        function = _Function()
        if not C.wasmtime_component_instance_get_func(
            byref(instance), context, self._export, byref(function)
        ):
            raise Precondition(f"{self._path!r} of {self._name} is not a function", exit_code=126)
        kind, of_value = C.wasmtime_component_func_type(byref(function), context), values.Type()
        params = []
        for number in range(C.wasmtime_component_func_type_param_count(kind)):
            text, size = c_void_p(), c_size_t()
            C.wasmtime_component_func_type_param_nth(kind, number, byref(text), byref(size), byref(of_value))
            params.append(int(of_value.kind))
            C.wasmtime_component_valtype_delete(byref(of_value))
        results = int(C.wasmtime_component_func_type_result(kind, byref(of_value)))
        if results:
            C.wasmtime_component_valtype_delete(byref(of_value))
        C.wasmtime_component_func_type_delete(kind)
        return function, params, results


def _call(context: int, function: _Function, arguments: values.Arguments, results: int) -> tuple[int, str]:
    """Call a function: 1 when it returns an error, else 0; and what it returns, as text."""
    value = values.Value()
    given = arguments.values, arguments.count
    check(C.wasmtime_component_func_call(byref(function), context, *given, byref(value), results))
    if not results:
        return 0, ""
    failed = value.kind == values.RESULT and not value.of.result.is_ok
    told = values.told(value)
    C.wasmtime_component_val_delete(byref(value))
    return int(failed), told


def _whole_network(network: Network) -> bool:
    """Whether the component gets the network: its sockets are the engine's own, granted all or not at all.

    Raises:
        Unimplemented: ports are to be mapped, which takes a network namespace here.
    """
    if network.mode != "published":
        return network.mode == "host"
    for port in network.ports:
        if port.host_port != port.guest_port or port.host_address not in EVERY_ADDRESS:
            address = f"{port.host_address}:" if port.host_address else ""
            raise Unimplemented(
                f"port {address}{port.host_port or ''}:{port.guest_port} cannot be published for a component "
                "without a network namespace",
                fix=f"publish the same port on all addresses (-p {port.guest_port}:{port.guest_port})",
                exit_code=125,
            )
    return True


def _find_command(exports: list[str], name: str) -> str:
    for export in exports:
        if export.startswith(COMMAND):
            return f"{export}#run"
    if any(export.startswith(HTTP) for export in exports):
        raise Precondition(
            f"{name} is a component that handles HTTP requests ({HTTP[:-1]}), which cannot be served yet",
            exit_code=126,
        )
    has = ", ".join(exports[:SHOWN_EXPORTS]) or "nothing"
    raise Precondition(
        f"{name} exports no {COMMAND}x, so it is no command (it exports: {has})",
        fix="name one of its functions: FILE#function or FILE#interface#function",
        exit_code=126,
    )


def _find_export(code: int, path: str, name: str) -> int:
    """The index of a function, `function` or `interface#function`; good for every instance."""
    interface, _, function = path.rpartition("#")
    outer: int | None = None
    if interface:
        outer = _index(code, None, interface)
    found = None if interface and not outer else _index(code, outer, function)
    if outer:
        C.wasmtime_component_export_index_delete(outer)
    if not found:
        raise Precondition(f"{name} exports no {path!r}", exit_code=126)
    return found


def _index(code: int, outer: int | None, name: str) -> int | None:
    inner = name.encode()
    found: int | None = C.wasmtime_component_get_export_index(code, outer, inner, len(inner))
    return found


def _exports(engine: int, code: int) -> list[str]:
    """The names of everything that a component exports."""
    kind = C.wasmtime_component_type(code)
    names = []
    for i in range(C.wasmtime_component_type_export_count(kind, engine)):
        text, size, item = c_void_p(), c_size_t(), c_void_p()
        if C.wasmtime_component_type_export_nth(kind, engine, i, byref(text), byref(size), byref(item)):
            names.append(ctypes.string_at(text.value or 0, size.value).decode("utf-8", "replace"))
            C.wasmtime_component_extern_delete(item)
    C.wasmtime_component_type_delete(kind)
    return names
