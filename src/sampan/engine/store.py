"""One run's world in the engine: its limits, its WASI, its clock; and what its end means."""

from __future__ import annotations

from itertools import count

from sampan.core.errors import Exhausted, Precondition, SampanError
from sampan.engine import wasi
from sampan.engine.binding import (
    TRAP_INTERRUPT,
    TRAP_OUT_OF_FUEL,
    C,
    EngineError,
    check,
)
from sampan.engine.grants import Ending
from sampan.engine.ticker import ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine.grants import Grants
    from sampan.engine.program import Engine

TRAPPED = 134  # 128 + SIGABRT
KILLED = 137  # 128 + SIGKILL
MOST_INSTANCES = 1_000  # a component is made of many
MOST_MEMORIES = MOST_TABLES = 64
FOREVER = 1 << 62
INTERRUPTED = "wasm trap: interrupt"  # components give no trap codes, only text
OUT_OF_FUEL = "wasm trap: all fuel consumed by WebAssembly"
SHOWN_FRAMES = 20


class Store:
    """A store with everything granted, for one run on one thread. Close it.

    Attributes:
        context: the C context. number: of the run, kept in the store's data.

    Raises:
        SampanError: something granted cannot be had (see `wasi.configure`).
        Invalid: a limit makes no sense. Precondition: the engine was made without what a limit needs.
    """

    def __init__(self, engine: Engine, grants: Grants, *, network: bool) -> None:
        limits = grants.limits
        limits.check()
        if not engine.fits(limits):
            raise Precondition(
                "this engine was not made for these limits", fix="make it with Engine.for_limits"
            )
        self._engine = engine
        self._timed = engine.tuning.epochs
        self.number = engine.runs.begin()
        self._store: int = C.wasmtime_store_new(engine.pointer, self.number, None)
        self.context: int = C.wasmtime_store_context(self._store)
        try:
            memory = -1 if limits.memory is None else limits.memory
            C.wasmtime_store_limiter(
                self._store, memory, limits.table_elements, MOST_INSTANCES, MOST_TABLES, MOST_MEMORIES
            )
            if engine.tuning.fuel:
                fuel = FOREVER if limits.fuel is None else limits.fuel
                check(C.wasmtime_context_set_fuel(self.context, fuel))
            check(C.wasmtime_context_set_wasi(self.context, wasi.configure(grants, network=network)))
        except BaseException:
            C.wasmtime_store_delete(self._store)
            engine.runs.end(self.number)
            raise
        if self._timed:
            after = FOREVER if limits.deadline is None else ticks(limits.deadline)
            C.wasmtime_context_set_epoch_deadline(self.context, after)
            engine.ticker.begin()

    def close(self) -> None:
        if self._timed:
            self._engine.ticker.end()
        C.wasmtime_store_delete(self._store)
        self._engine.runs.end(self.number)

    def refusal(self, error: EngineError) -> SampanError | None:
        """The error of an instantiation in which no code of the guest ran; None when code ran and ended."""
        if error.code is not None or error.frames or self._exit_code(error) is not None:
            return None
        text = cause(error.text)
        if "limit" in text or "mmap failed" in text:
            return Exhausted(f"the workload needs more than it may have: {text}", exit_code=126)
        return Precondition(f"the workload cannot be linked: {text}", exit_code=126)

    def ending(self, error: EngineError) -> Ending:
        """What an error or a trap means for the outside."""
        code = self._exit_code(error)
        if code is not None:
            return Ending(code & 0xFF, "exited")
        reason = cause(error.text)
        if error.code == TRAP_INTERRUPT or reason.endswith(INTERRUPTED):
            return Ending(KILLED, "deadline", _message("the deadline has passed", error))
        if error.code == TRAP_OUT_OF_FUEL or reason.endswith(OUT_OF_FUEL):
            return Ending(KILLED, "fuel", _message("all fuel is consumed", error))
        return Ending(TRAPPED, "trap", _message(reason, error))

    def _exit_code(self, error: EngineError) -> int | None:
        recorded = self._engine.runs.exit_code(self.number)
        return error.exit_status if recorded is None else recorded


class Runs:
    """The runs under way in an engine, by number, with the codes that their guests gave to `proc_exit`.

    The engine refuses codes from 126 upwards, so `proc_exit` is ours; it finds its run by this number.
    """

    def __init__(self) -> None:
        self.numbers = count(1)
        self._codes: dict[int, int | None] = {}

    def begin(self) -> int:
        number = next(self.numbers)
        self._codes[number] = None
        return number

    def end(self, number: int) -> None:
        self._codes.pop(number, None)

    def exit(self, number: int, code: int) -> None:
        self._codes[number] = code

    def exit_code(self, number: int) -> int | None:
        return self._codes.get(number)


def cause(text: str) -> str:
    """The reason in an engine's error, on one line, without the backtrace that stands before it."""
    head, caused, tail = text.rpartition("Caused by:")  # the last: names in the backtrace are the guest's
    if not caused:
        head, tail = tail, ""
    lines = tail.strip().splitlines() if caused else head.strip().splitlines()
    reasons = [_without_number(line.strip()) for line in lines if line.strip()]
    if caused and not head.startswith("error while executing"):
        reasons.insert(0, head.strip())
    return ": ".join(reasons)


def _without_number(line: str) -> str:
    number, colon, rest = line.partition(": ")
    return rest if colon and number.isdigit() else line


def _message(reason: str, error: EngineError) -> str:
    lines = [reason]
    if error.frames:
        lines.append("wasm backtrace:")
        lines += [f"  {i}: {frame}" for i, frame in enumerate(error.frames[:SHOWN_FRAMES])]
    return "\n".join(lines)
