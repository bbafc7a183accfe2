"""The engine and the programs that it has loaded: from an open file to something that can be run.

`load` may start a process, open files and take its time: it belongs before a jail. `run` opens nothing but what
is granted and imports nothing, if `preload` was called. An engine and its programs may be made before a fork.
"""

from __future__ import annotations

import os

from sampan.core.detect import Clues, detect
from sampan.core.errors import Invalid, from_os_error
from sampan.engine.binding import I32, C, EngineError, check, define_function, new_trap
from sampan.engine.code import map_code
from sampan.engine.compiler import compile_file
from sampan.engine.grants import DEFAULT_STACK
from sampan.engine.store import Runs
from sampan.engine.ticker import Ticker
from sampan.engine.tuning import Tuning, fingerprint, new_engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from sampan.engine.cache import CodeCache
    from sampan.engine.grants import Ending, Grants, Limits, OnBind
else:
    Protocol = object

WASI = "wasi_snapshot_preview1"
HEAD = 512


class Program(Protocol):
    """A loaded workload. It may be run many times, also at once on several threads, also after a fork."""

    kind: str  # module or component

    def run(self, grants: Grants, on_bind: OnBind | None = None) -> Ending:
        """Run it to its end on this thread, which needs a stack of 8 MiB.

        Args:
            on_bind: called, on this thread, when the guest binds a published port.

        Raises:
            Invalid, NotFound, Denied, Precondition: something granted cannot be had.
            Exhausted: it needs more from the start than its limits allow (exit code 126).
            Precondition: an import cannot be had (exit code 126).
        """


def preload() -> None:
    """Import and bind all that a run needs, so that a jail can be built around it (loading may import more)."""
    import sampan.engine.cache
    import sampan.engine.component
    import sampan.engine.module
    import sampan.engine.sockets
    import sampan.engine.wasi  # noqa: F401
    from sampan.engine.binding import bind_all

    bind_all()


class Engine:
    """What compiles, keeps and runs code. Cheap to make (0.3 ms).

    Args:
        fuel: count instructions, for `Limits.fuel`. epochs: let `Limits.deadline` end loops. Both cost speed, and
            code compiled with them is cached apart. stack: bytes of Wasm stack.
    """

    def __init__(self, fuel: bool = False, epochs: bool = False, stack: int = DEFAULT_STACK) -> None:
        self.tuning = Tuning(fuel, epochs, stack)
        self.pointer = new_engine(self.tuning)
        self.fingerprint = fingerprint(self.tuning)
        self.runs = Runs()
        self.ticker = Ticker(self.pointer)
        self.linker: int = C.wasmtime_linker_new(self.pointer)
        check(C.wasmtime_linker_define_wasi(self.linker))
        C.wasmtime_linker_allow_shadowing(self.linker, True)
        self._callback = define_function(self.linker, WASI, "proc_exit", (I32,), (), self._proc_exit)
        self._component_linker = 0

    def __del__(self) -> None:
        if hasattr(self, "_component_linker"):  # made in full
            if self._component_linker:
                C.wasmtime_component_linker_delete(self._component_linker)
            C.wasmtime_linker_delete(self.linker)
            C.wasm_engine_delete(self.pointer)

    @classmethod
    def for_limits(cls, limits: Limits) -> Engine:
        """An engine that can hold these limits."""
        return cls(limits.fuel is not None, limits.deadline is not None, limits.stack)

    def fits(self, limits: Limits) -> bool:
        """Whether this engine can hold these limits."""
        tuning = self.tuning
        return (
            (limits.fuel is None or tuning.fuel)
            and (limits.deadline is None or tuning.epochs)
            and limits.stack == tuning.stack
        )

    @property
    def component_linker(self) -> int:
        """A linker with WASI 0.2, made when first needed."""
        if not self._component_linker:
            linker: int = C.wasmtime_component_linker_new(self.pointer)
            check(C.wasmtime_component_linker_add_wasip2(linker))
            self._component_linker = linker
        return self._component_linker

    def load(
        self, fd: int, entry: str = "", cache: CodeCache | None = None, name: str = "the workload"
    ) -> Program:
        """The program in an open file.

        Args:
            fd: a descriptor of a Wasm binary, readable, left open and untouched.
            entry: the export to run; "" is `_start` of a module, `wasi:cli/run` of a component. The exported
                `_initialize` of a module without `_start` is called before.
            cache: where compiled code is kept; without one it is compiled each time.
            name: what errors call it.

        Raises:
            Invalid: it is no valid Wasm binary. TimedOut, Exhausted: it cannot be compiled within bounds.
            Precondition: an import or the entry is missing, or has another type. All with exit code 126.
        """
        kind = _kind(fd, name)
        code = self._load_code(fd, kind, cache, name)
        if kind == "component":
            from sampan.engine.component import Component

            return Component(self, code, entry, name)
        from sampan.engine.module import Module

        return Module(self, code, entry, name)

    def _load_code(self, fd: int, kind: str, cache: CodeCache | None, name: str) -> int:
        """The compiled code, from the cache or from the compiler."""
        if cache is not None and (digest := cache.digest(fd)) is not None:
            found = cache.find(digest, self.fingerprint)
            if found is not None:
                try:
                    return map_code(self.pointer, found, kind)
                except EngineError:
                    cache.discard(digest, self.fingerprint)
                finally:
                    os.close(found)
        compiled = compile_file(fd, kind, self.tuning, name)
        try:
            code = map_code(self.pointer, compiled.fd, kind)
            if cache is not None:
                cache.store(compiled.digest, self.fingerprint, compiled.fd)
        except EngineError as error:
            raise Invalid(f"{name} cannot be loaded: {error.text}", exit_code=126) from error
        finally:
            os.close(compiled.fd)
        return code

    def _proc_exit(self, caller: int, values: Any) -> int:
        run = C.wasmtime_context_get_data(C.wasmtime_caller_context(caller))
        self.runs.exit(run, values[0] & 0xFF)
        return new_trap("proc_exit")


def _kind(fd: int, name: str) -> str:
    try:
        head = os.pread(fd, HEAD, 0)
    except OSError as error:
        raise from_os_error(error, f"read {name}") from error
    verdict = detect(Clues(head=head))
    if not verdict.is_wasm:
        raise Invalid(f"{name} is not a wasm binary: {verdict.evidence[-1]}", exit_code=126)
    return verdict.kind
