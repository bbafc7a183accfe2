"""How an engine is configured, and the fingerprint of all that compiled code depends on."""

from __future__ import annotations

import os

from sampan.core.errors import Internal, Invalid
from sampan.core.record import Record
from sampan.engine.binding import C, library_path
from sampan.engine.grants import DEFAULT_STACK

LEAST_STACK, MOST_STACK = 16 * 1024, 4 * 1024 * 1024  # half of the thread's 8 MiB is for the host's functions
CODE_FORMAT = 1  # raised when our own part of what is cached changes


class Tuning(Record):
    """What is compiled in: `fuel` and `epochs` (deadlines) cost speed, so only where they are asked for.

    `stack` in bytes is not part of the code.
    """

    fuel: bool = False
    epochs: bool = False
    stack: int = DEFAULT_STACK


def new_engine(tuning: Tuning, *, parallel: bool = False) -> int:
    """A C engine. `parallel` compilation starts threads: never in a process that forks later.

    Shared memory, threads and stack switching stay off, as they are by default.

    Raises:
        Invalid: the stack is too small or too large.
    """
    os.putenv("TOKIO_WORKER_THREADS", "1")  # WASI's runtime would start one for each processor
    if not LEAST_STACK <= tuning.stack <= MOST_STACK:
        raise Invalid(
            f"a Wasm stack of {tuning.stack} bytes cannot be had",
            fix=f"{LEAST_STACK} to {MOST_STACK} bytes can",
        )
    config = C.wasm_config_new()
    C.wasmtime_config_parallel_compilation_set(config, parallel)
    C.wasmtime_config_consume_fuel_set(config, tuning.fuel)
    C.wasmtime_config_epoch_interruption_set(config, tuning.epochs)
    C.wasmtime_config_async_stack_size_set(config, 2 * MOST_STACK)  # never used, but must be the larger
    C.wasmtime_config_max_wasm_stack_set(config, tuning.stack)
    engine: int | None = C.wasm_engine_new_with_config(config)
    if not engine:
        raise Internal("the engine cannot be made with this configuration")
    return engine


def fingerprint(tuning: Tuning) -> str:
    """One line that differs wherever compiled code must not be shared: engine, processor, configuration.

    The library is told apart by size and time: reading its 30 MB would cost more than a start.
    """
    library = os.stat(library_path())
    return "\t".join(
        (
            f"sampan {CODE_FORMAT}",
            f"wasmtime {library.st_size} {library.st_mtime_ns}",
            f"fuel {tuning.fuel:d} epochs {tuning.epochs:d}",
            _processor(),
        )
    )


def _processor() -> str:
    """What the first processor is and can do, as the kernel tells it."""
    wanted = (b"vendor_id", b"cpu family", b"model", b"flags", b"CPU implementer", b"CPU part", b"Features")
    try:
        fd = os.open("/proc/cpuinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return os.uname().machine
    try:
        head = os.read(fd, 4096)
    finally:
        os.close(fd)
    first = head.partition(b"\n\n")[0].split(b"\n")
    lines = [line for line in first if line.partition(b":")[0].strip() in wanted]
    return b" ".join([os.uname().machine.encode(), *lines]).decode(errors="replace").replace("\t", " ")
