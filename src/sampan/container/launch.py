"""From fork to the workload's end, for every process that runs one: a container's own and those of `exec`.

A forked process prepares itself and tells who started it how that went, over a socket of packets (see `starter`):
`{}` when it stands, or the error that stopped it. Then it loads the workload, waits at its gate if it has one, jails
itself, runs the workload and exits with its code.
"""

from __future__ import annotations

import gc
import os
import time

from sampan.container.records import Exit
from sampan.container.signals import Signals
from sampan.container.stdio import fill_standard_descriptors
from sampan.container.supervisor import Supervisor
from sampan.core import strictjson
from sampan.core.errors import Exhausted, Internal, SampanError, from_os_error
from sampan.linux import syscalls
from sampan.linux.privileges import close_from
from sampan.linux.processes import set_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from sampan.container.starter import Starter
    from sampan.engine.grants import Ending, Limits

NAME = "sampan-workload"
STACK = 8 << 20
STACK_HEADROOM = 4 << 20


class Run:
    """A process that is ready to run its workload.

    Args:
        exit_fd: takes the exit record; -1 for none. lasting: whether that must outlive a reboot.
        patience: how long, in seconds, the workload waits for somebody to attach before it begins.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        exit_fd: int,
        limits: Limits,
        patience: float = 0.0,
        *,
        lasting: bool = True,
    ) -> None:
        self._supervisor = supervisor
        self._exit_fd = exit_fd
        self._patience = patience
        self._lasting = lasting
        self._stack = max(STACK, limits.stack + STACK_HEADROOM)

    def serve(self) -> int:
        """Runs the workload, records how it ended; the exit code."""
        try:
            ending, number = self._supervisor.serve(self._stack, self._patience)
            record = _exit_of(ending, number)
        except SampanError as error:
            ending, record = (
                None,
                Exit(error.exit_code, "error", time.time_ns(), f"sampan: {error} ({error.kind})"),
            )
        except Exception as error:  # a fault of ours ends the container, and says so
            ending, text = None, f"sampan: {type(error).__name__}: {error} (INTERNAL)"
            record = Exit(125, "error", time.time_ns(), text)
        if record.message:
            self._supervisor.write_error(f"{record.message.rstrip()}\n")
        if self._exit_fd >= 0:
            write_record(self._exit_fd, record, lasting=self._lasting)
        self._supervisor.finish(record.to_json(), wait=ending is not None)
        return record.code


def launch(
    prepare: Callable[[], Run], starter: Starter, failed: Callable[[SampanError], None], what: str
) -> NoReturn:
    """Prepares, tells, runs, exits: the main of a just forked process.

    Args:
        prepare: may tell `starter` itself that the process stands, and go on.
        failed: called with the error of a start that failed, after it was told.
        what: what is being done, for errors.
    """
    try:
        run = prepare()
    except OSError as error:
        _fail(starter, failed, from_os_error(error, what))
    except SampanError as error:
        _fail(starter, failed, error)
    except MemoryError:
        _fail(starter, failed, Exhausted(f"cannot {what}: a limit leaves it too little memory"))
    except BaseException as error:  # the outermost edge of a process: nothing may pass it
        _fail(starter, failed, Internal(f"cannot {what}: {type(error).__name__}: {error}"))
    starter.stands()
    code = 125
    try:
        code = run.serve()
    finally:
        os._exit(code)


def begin(kept: list[int]) -> Signals:
    """The first steps of a just forked process: a session and a name of its own, no descriptors but `kept`."""
    os.setsid()
    gc.disable()
    set_name(NAME)
    close_from(3, kept)
    fill_standard_descriptors()
    return Signals()


def warm_up() -> None:
    """Loads what would otherwise be loaded when first needed, where no file can be opened any more.

    What running a program needs was imported when it was loaded.
    """
    syscalls.load()
    strictjson.dumps(Exit(0, "", 0))
    "\0é".encode("unicode_escape")
    b"\xff".decode("ascii", "replace")
    b"\xff".decode("utf-8", "backslashreplace")
    "\udcff".encode("utf-8", "backslashreplace")
    time.strftime("%Y", time.gmtime(0))


def write_record(fd: int, record: Exit, *, lasting: bool) -> None:
    """Fills in a run's exit record; a disk that fails costs it, no more."""
    data = strictjson.dumps(record)
    try:
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
        if lasting:
            os.fsync(fd)
    except OSError:  # the disk: the parent sees the exit code, and records that
        return


def _exit_of(ending: Ending | None, number: int) -> Exit:
    if ending is None:
        return Exit(128 + number, "signal", time.time_ns())
    return Exit(ending.code, ending.reason, time.time_ns(), ending.message)


def _fail(starter: Starter, failed: Callable[[SampanError], None], error: SampanError) -> NoReturn:
    waited = starter.waits
    starter.failed(error)
    try:
        failed(error)
        if not waited:  # it stood already: who reads its output is told
            os.write(2, f"sampan: {error} ({error.kind})\n".encode(errors="backslashreplace"))
    except (SampanError, OSError, MemoryError):  # too late for files: who started it records what it was told
        pass
    finally:
        os._exit(error.exit_code)
