"""The socket functions as host functions of one module: defined once, each run has a world of its own."""

from __future__ import annotations

from ctypes import c_uint64
from errno import EIO

from sampan.engine.binding import I32, C, define_function
from sampan.engine.originals import Forwarder
from sampan.engine.sockets.calls import Calls
from sampan.engine.sockets.interface import (
    SHARED_FUNCTIONS,
    WASI,
    refuse,
    socket_function,
    wasi_errno,
)
from sampan.engine.sockets.memory import GuestMemory
from sampan.engine.sockets.routes import Routes
from sampan.engine.sockets.shared import SharedCalls
from sampan.engine.sockets.table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.engine.binding import HostFunction
    from sampan.engine.grants import Network, OnBind
    from sampan.engine.originals import Originals

LOW = 0xFFFFFFFF


class Sockets:
    """A module's socket functions in a linker of its own. Compiles a little: make it before a fork or a jail.

    Args:
        engine: the C engine.
        wasi_linker: a linker with WASI, without sockets; it must outlive this object.
        imports: the functions that the module imports from WASI, with their parameters as letters.

    Attributes:
        linker: the linker to link the module with.
    """

    def __init__(self, engine: int, wasi_linker: int, imports: dict[str, str]) -> None:
        self._worlds: dict[int, World] = {}
        self._forwarder = Forwarder(engine, wasi_linker, SHARED_FUNCTIONS)
        self.linker: int = C.wasmtime_linker_clone(wasi_linker)
        C.wasmtime_linker_allow_shadowing(self.linker, True)
        self._callbacks = [
            define_function(self.linker, WASI, name, (I32,) * len(params), (I32,), function)
            for name, params in imports.items()
            if (function := self._function(name, params)) is not None
        ]

    def begin(self, run: int, network: Network, on_bind: OnBind | None) -> None:
        """Make the world of a run.

        Args:
            run: the number in the store's data.
            on_bind: called on the run's thread with the host's port when a published port is bound.
        """
        self._worlds[run] = World(network, on_bind, self._forwarder.originals())

    def end(self, run: int) -> None:
        """Close what a run has left open."""
        world = self._worlds.pop(run, None)
        if world is not None:
            world.table.close()

    def _function(self, name: str, params: str) -> HostFunction | None:
        if SHARED_FUNCTIONS.get(name) == params:
            return self._shared_function(name, len(params))
        method = socket_function(name, params)
        return self._socket_function(method, len(params)) if method else None

    def _socket_function(self, method: str, count: int) -> HostFunction:
        worlds, call = self._worlds, getattr(Calls, method)

        def function(caller: int, values: Any) -> None:
            world = worlds[C.wasmtime_context_get_data(C.wasmtime_caller_context(caller))]
            try:
                world.memory.refresh(caller)
                call(world.calls, *[value & LOW for value in values[0 : 2 * count : 2]])
            except OSError as error:
                values[0] = wasi_errno(error)
            else:
                values[0] = 0

        return function

    def _shared_function(self, name: str, count: int) -> HostFunction:
        worlds, call = self._worlds, getattr(SharedCalls, name)

        def function(caller: int, values: Any) -> int | None:
            world = worlds[C.wasmtime_context_get_data(C.wasmtime_caller_context(caller))]
            world.caller = caller
            try:
                world.memory.refresh(caller)
                if call(world.shared, *[value & LOW for value in values[0 : 2 * count : 2]]):
                    return world.originals.call(name, caller, values)
            except OSError as error:
                values[0] = wasi_errno(error)
            else:
                values[0] = 0
            return None

        return function


class World:
    """What one run has: its memory, its descriptors, its addresses, and the engine's own functions."""

    def __init__(self, network: Network, on_bind: OnBind | None, originals: Originals) -> None:
        self.caller = 0
        self.originals = originals
        self.memory, self.table = GuestMemory(), Table()
        self.calls = Calls(self.memory, self.table, Routes(network, on_bind))
        self.shared = SharedCalls(self.calls, self._file_status)

    def _file_status(self, descriptor: int, out: int) -> int:
        """The engine's own `fd_fdstat_get`: a descriptor and a place in, errno out."""
        values = (c_uint64 * 4)(descriptor, 0, out, 0)
        trap = self.originals.call("fd_fdstat_get", self.caller, values)
        if trap:
            C.wasm_trap_delete(trap)
            raise refuse(EIO)
        return int(values[0] & LOW)
