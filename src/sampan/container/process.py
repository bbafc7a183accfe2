"""The container process: what happens between its fork and its jail.

It is forked by the command line (in the foreground) or by the zygote and owns everything that it needs: its log,
its control socket, its exit record.
"""

from __future__ import annotations

import os
import time

from sampan.container import control, stdio, walls, workload
from sampan.container.launch import Run, begin, launch, warm_up
from sampan.container.logs import MAX_FILE, LogWriter
from sampan.container.records import Exit, Running
from sampan.container.supervisor import Supervisor
from sampan.linux import namespaces
from sampan.linux.cgroups import Cgroup
from sampan.linux.processes import boot_id, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Spec
    from sampan.engine.grants import PortMap
    from sampan.engine.program import Engine

PATIENCE = 10.0


def main(entry: Entry, roots: Roots, mode: str, report: int, engine: Engine | None) -> NoReturn:
    """Runs the container in this (just forked) process and exits with its code.

    Args:
        mode: one of `stdio`'s.
        report: the pipe to who waits for the start (see `launch`).
        engine: an engine made before the fork, or None.
    """
    launch(
        lambda: _prepare(entry, roots, mode, report, engine),
        report,
        lambda error: entry.save_exit(Exit(error.exit_code, "error", time.time_ns(), str(error))),
        f"start container {entry.container.name}",
    )


def _prepare(entry: Entry, roots: Roots, mode: str, report: int, engine: Engine | None) -> Run:
    signals = begin(report)
    container, spec = entry.container, entry.spec
    world = walls.build(entry.folder, container, spec)
    program, grants = workload.load(world, roots, engine)
    walls.enter_cgroup(world, Cgroup(container.id))
    terminal = spec.process is not None and spec.process.terminal
    ends = stdio.arrange(mode, keep_stdin=container.keep_stdin, terminal=terminal)
    log = LogWriter(entry.folder, _log_limit(spec)) if mode != stdio.INHERIT else None
    exit_fd = entry.open_exit()
    spaces = _own_namespaces(world)
    ports: list[dict[str, Any]] = []

    def on_bind(port: PortMap, host_port: int) -> None:
        ports.append(port.replace(host_port=host_port).to_json())

    answers = {
        "world": lambda client: control.send(client, list(spaces), [world.root, *spaces.values()]),
        "ports": lambda client: control.send(client, ports),
    }
    server = control.listen(entry.folder)
    supervisor = Supervisor(lambda: program.run(grants, on_bind), signals, ends, log, server, answers)
    pid = os.getpid()
    entry.save_running(
        Running(pid, start_time(pid), boot_id(), time.time_ns(), world.missing, sorted(world.absent))
    )
    warm_up()
    walls.jail(world)
    return Run(supervisor, exit_fd, grants.limits, patience=PATIENCE if mode == stdio.ATTACHED else 0.0)


def _log_limit(spec: Spec) -> int:
    """How large a file of the log becomes: the process's own limit on files is one for its log too."""
    limits = spec.process.rlimits if spec.process is not None else []
    return min(
        [MAX_FILE, *(limit.soft for limit in limits if limit.type == "RLIMIT_FSIZE" and limit.soft > 0)]
    )


def _own_namespaces(world: walls.World) -> dict[int, int]:
    """Descriptors of the namespaces that this process made, for `exec`; by their CLONE_NEW flag."""
    if not world.private:
        return {}
    spaces = {namespaces.NEWNS: "mnt", namespaces.NEWIPC: "ipc"}
    if os.geteuid() != 0:
        spaces = {namespaces.NEWUSER: "user", **spaces}
    return {
        flag: os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for flag, name in spaces.items()
    }
