"""The container process: what happens between its fork and its jail.

It is forked by the command line (in the foreground), by the OCI door or by the zygote, and owns everything that it
needs: its log, its control socket, its exit record.
"""

from __future__ import annotations

import time

from sampan.container import console, control, stdio, walls, workload
from sampan.container.files import Files, running_now
from sampan.container.hooks import run_hooks
from sampan.container.launch import Run, begin, launch, warm_up, write_record
from sampan.container.records import Exit
from sampan.container.starter import Starter, own_pid
from sampan.container.status import cgroup_of, state_document
from sampan.container.supervisor import Supervisor
from sampan.linux.processes import set_command_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from sampan.container.files import Wish
    from sampan.container.store import Entry
    from sampan.core.errors import SampanError
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Spec
    from sampan.engine.grants import PortMap
    from sampan.engine.program import Program


def main(entry: Entry, roots: Roots, wish: Wish, report: int) -> NoReturn:
    """Runs the container in this (just forked) process and exits with its code.

    Args:
        report: the process's end of the conversation with who starts it (see `starter`).
    """
    starter = Starter(report)
    files = Files()

    def record_failure(error: SampanError) -> None:
        record = Exit(error.exit_code, "error", time.time_ns(), str(error))
        if files.exit >= 0:  # there may be no way to it any more but this
            write_record(files.exit, record, lasting=entry.lasting)
        else:
            entry.save_exit(record)

    def prepare() -> Run:
        if entry.container.linux_runtime:
            from sampan.container import foreign

            return foreign.prepare(entry, roots, wish, starter, files)
        if entry.container.sandbox:
            from sampan.container import sandbox

            return sandbox.prepare(entry, wish, starter, files)
        return _prepare(entry, roots, wish, starter, files)

    launch(
        prepare,
        starter,
        record_failure,
        f"start container {entry.container.name}",
    )


def _prepare(entry: Entry, roots: Roots, wish: Wish, starter: Starter, files: Files) -> Run:
    signals = begin([starter.fd, *wish.kept])
    container, spec = entry.container, entry.spec
    if spec.process is not None:
        set_command_line(spec.process.args)
    cgroup = cgroup_of(container, spec)
    world = walls.World(container, spec)
    files.open(entry, wish, spec)
    loaded: Program | None = None
    if world.is_out_of_reach:  # nothing of root's is readable from its user namespace: all of it comes before
        walls.enter_cgroup(world, cgroup, entry.claim_cgroup)
        source = workload.find_outside(world)
        loaded = workload.load(source, world, roots)
        walls.import_all()
        warm_up()
        walls.build(world, entry.folder, starter)
    else:
        walls.build(world, entry.folder, starter)
        source = workload.find(world)
        if not wish.gated or not workload.is_compiled(source, roots):
            loaded = workload.load(source, world, roots)  # compiling takes more than a container may have
        walls.enter_cgroup(world, cgroup, entry.claim_cgroup)
    world.spaces.enter_cgroup_namespace()
    pid = own_pid()
    _run_hooks_of_creation(entry, spec, starter, pid)
    ends = _arrange_output(container.keep_stdin, spec, wish)
    spaces = world.spaces.open()
    running = running_now(pid, cgroup, world.root, spaces)
    running.missing, running.absent = world.missing, sorted(world.absent)
    files.write_running(running)
    if wish.gated:
        starter.stands()
    program = loaded or workload.load(source, world, roots)
    grants = workload.grants_of(source, world)
    warm_up()
    walls.enter_root(world)

    def open_gate() -> None:
        _run_start_hooks(entry, spec, world, pid)
        walls.jail(world)
        files.write_begun()

    if not wish.gated:
        walls.jail(world)
    ports: list[dict[str, Any]] = []

    def on_bind(port: PortMap, host_port: int) -> None:
        ports.append(port.replace(host_port=host_port).to_json())

    answers = {
        "world": lambda client: control.send(client, list(spaces), [world.root, *spaces.values()]),
        "ports": lambda client: control.send(client, ports),
    }
    supervisor = Supervisor(
        lambda: program.run(grants, on_bind),
        signals,
        ends,
        files.log,
        files.server,
        answers,
        open_gate if wish.gated else None,
    )
    return Run(supervisor, files.exit, grants.limits, wish.patience, lasting=entry.lasting)


def _arrange_output(keep_stdin: bool, spec: Spec, wish: Wish) -> stdio.Ends:
    if wish.console_fd >= 0:
        assert spec.process is not None  # it wants a terminal
        console.give_terminal(wish.console_fd, spec.process.console_size)
        return stdio.Ends()
    terminal = spec.process is not None and spec.process.terminal
    return stdio.arrange(wish.mode, keep_stdin=keep_stdin, terminal=terminal)


def _run_hooks_of_creation(entry: Entry, spec: Spec, starter: Starter, pid: int) -> None:
    hooks = spec.hooks
    if hooks is None:
        return
    if hooks.prestart or hooks.create_runtime:
        starter.ask("hooks")
    if hooks.create_container:
        run_hooks("createContainer", hooks.create_container, state_document(entry, "creating", pid))


def _run_start_hooks(entry: Entry, spec: Spec, world: walls.World, pid: int) -> None:
    hooks = spec.hooks.start_container if spec.hooks is not None else []
    if hooks:
        state = state_document(entry, "created", pid, spec.annotations)
        run_hooks("startContainer", hooks, state, lambda: walls.become_user(world))
