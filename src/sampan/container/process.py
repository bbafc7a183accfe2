"""The container process: its own main, from fork to exit record.

It is forked by the command line (in the foreground) or by the zygote and owns everything that it needs: its log,
its control socket, its exit record. Until it is jailed it reports to who started it, through a pipe: `{}` when the
workload is about to run, or the error that stopped it.
"""

from __future__ import annotations

import gc
import os
import time

from sampan.container import control, stdio, walls, workload
from sampan.container.logs import LogWriter
from sampan.container.records import Exit, Running
from sampan.container.supervisor import Signals, Supervisor
from sampan.core import strictjson
from sampan.core.errors import KINDS, Internal, SampanError, from_os_error
from sampan.linux import namespaces, syscalls
from sampan.linux.cgroups import Cgroup
from sampan.linux.processes import boot_id, set_name, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.engine.grants import Ending
    from sampan.engine.program import Engine

STACK = 8 << 20
STACK_HEADROOM = 4 << 20


def main(entry: Entry, roots: Roots, mode: str, report: int, engine: Engine | None) -> NoReturn:
    """Runs the container in this (just forked) process and exits with its code.

    Args:
        mode: `stdio.INHERIT` or `stdio.CAPTURE`.
        report: the pipe to who waits for the start; closed when it was told.
        engine: an engine made before the fork, or None.
    """
    try:
        run = _prepare(entry, roots, mode, report, engine)
    except OSError as error:
        _fail(entry, report, from_os_error(error, f"start container {entry.container.name}"))
    except SampanError as error:
        _fail(entry, report, error)
    except BaseException as error:  # the outermost edge of a process: nothing may pass it
        _fail(entry, report, Internal(f"{type(error).__name__}: {error}"))
    tell(report, {})
    code = 125
    try:
        code = run.serve()
    finally:
        os._exit(code)


class _Run:
    """A jailed process that is ready to run its workload."""

    def __init__(self, supervisor: Supervisor, exit_fd: int, stack: int) -> None:
        self._supervisor = supervisor
        self._exit_fd = exit_fd
        self._stack = stack

    def serve(self) -> int:
        """Runs the workload, records how it ended; the exit code."""
        ending, number = self._supervisor.serve(self._stack)
        record = conclude(ending, number)
        if record.message:
            self._supervisor.write_error(f"{record.message.rstrip()}\n")
        os.pwrite(self._exit_fd, strictjson.dumps(record), 0)
        os.fsync(self._exit_fd)
        self._supervisor.finish(record.to_json(), wait=ending is not None)
        return record.code


def _prepare(entry: Entry, roots: Roots, mode: str, report: int, engine: Engine | None) -> _Run:
    os.setsid()
    gc.disable()
    set_name("sampan-workload")
    signals = Signals()
    stdio.fill_standard_descriptors()
    container, spec = entry.container, entry.spec
    world = walls.build(entry.folder, container, spec)
    program, grants = workload.load(world, roots, engine)
    walls.enter_cgroup(world, Cgroup(container.id))
    terminal = spec.process is not None and spec.process.terminal
    ends = stdio.arrange(mode, keep_stdin=container.keep_stdin, terminal=terminal)
    log = LogWriter(entry.folder) if mode == stdio.CAPTURE else None
    exit_fd = entry.open_exit()
    spaces = _own_namespaces(world)
    ports: list[dict[str, Any]] = []
    program.on_bind = lambda port, host_port: ports.append({**port.to_json(), "hostPort": host_port})
    answers = {
        "world": lambda client: control.send(client, list(spaces), [world.root, *spaces.values()]),
        "ports": lambda client: control.send(client, ports),
    }
    supervisor = Supervisor(lambda: program.run(grants), signals, ends, log, control.listen(entry.folder), answers)
    entry.save_running(Running(os.getpid(), start_time(os.getpid()), boot_id(), time.time_ns(), world.missing))
    _warm_up()
    walls.jail(world, [report, exit_fd, world.root, *spaces.values(), *supervisor.fds, *program.fds])
    stack = max(STACK, (grants.limits.stack or 0) + STACK_HEADROOM)
    return _Run(supervisor, exit_fd, stack)


def _own_namespaces(world: walls.World) -> dict[int, int]:
    """Descriptors of the namespaces that this process made, for `exec`; by their CLONE_NEW flag."""
    if not world.private:
        return {}
    spaces = {namespaces.NEWNS: "mnt", namespaces.NEWIPC: "ipc"}
    if os.geteuid() != 0:
        spaces = {namespaces.NEWUSER: "user", **spaces}
    return {flag: os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for flag, name in spaces.items()}


def _warm_up() -> None:
    """Loads what would otherwise be loaded when first needed, where no file can be opened any more."""
    syscalls.load()
    strictjson.dumps(Exit(0, "", 0))
    "\0é".encode("unicode_escape")
    b"\xff".decode("ascii", "replace")
    b"\xff".decode("utf-8", "backslashreplace")
    "\udcff".encode("utf-8", "backslashreplace")
    time.strftime("%Y", time.gmtime(0))


def conclude(ending: Ending | None, number: int) -> Exit:
    """The exit record of a workload that ended by itself, or of a container ended by signal `number`."""
    if ending is None:
        return Exit(128 + number, "signal", time.time_ns())
    return Exit(ending.code, ending.reason, time.time_ns(), ending.message)


def tell(report: int, value: dict[str, Any]) -> None:
    """Writes the one message of the report pipe and closes it."""
    try:
        os.write(report, strictjson.dumps(value))
        os.close(report)
    except OSError:  # nobody waits any more
        return


def _fail(entry: Entry, report: int, error: SampanError) -> NoReturn:
    """A start that failed: told to who waits, recorded, and the end of this process."""
    tell(report, error_to_json(error))
    try:
        entry.save_exit(Exit(error.exit_code, "error", time.time_ns(), str(error)))
    except SampanError:  # too late to open files: who started it records what it was told
        pass
    os._exit(error.exit_code)


def error_to_json(error: SampanError) -> dict[str, Any]:
    """An error as one process tells it another."""
    return {"kind": error.kind, "message": error.message, "fix": error.fix, "code": error.exit_code}


def error_from_json(value: dict[str, Any]) -> SampanError:
    """The error that another process told of."""
    return KINDS[value["kind"]](value["message"], fix=value["fix"], exit_code=value["code"])
