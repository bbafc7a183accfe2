"""The process of a pod's sandbox: it holds the namespaces that the pod's containers join, and runs nothing.

It is the same process as for Wasm, with the same walls, cgroup, gate and exit record, but there is no workload to find
or to load: no engine and no pause image are needed. SIGTERM and SIGINT end it, as any container's process.
"""

from __future__ import annotations

import os

from sampan.container import stdio, walls
from sampan.container.files import running_now
from sampan.container.launch import Run, begin, warm_up
from sampan.container.starter import own_pid
from sampan.container.status import cgroup_of
from sampan.container.supervisor import Supervisor
from sampan.core.errors import Unimplemented
from sampan.engine.grants import Ending, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.files import Files, Wish
    from sampan.container.starter import Starter
    from sampan.container.store import Entry


def prepare(entry: Entry, wish: Wish, starter: Starter, files: Files) -> Run:
    """Makes the sandbox's world in this just forked process.

    Raises:
        SampanError: what stopped it.
    """
    signals = begin([starter.fd, *wish.kept])
    container, spec = entry.container, entry.spec
    hooks = spec.hooks
    if hooks is not None and (hooks.create_container or hooks.start_container):
        raise Unimplemented("a sandbox runs no hooks of its containers' side")
    world = walls.World(container, spec)
    files.open(entry, wish, spec)
    walls.import_all()
    walls.build(world, entry.folder, starter)
    cgroup = cgroup_of(container, spec)
    walls.enter_cgroup(world, cgroup, entry.claim_cgroup)
    world.spaces.enter_cgroup_namespace()
    if hooks is not None and (hooks.prestart or hooks.create_runtime):
        starter.ask("hooks")
    pid = own_pid()
    stdio.arrange(stdio.NOWHERE, keep_stdin=False, terminal=False)
    running = running_now(pid, cgroup, world.root, world.spaces.open())
    running.missing, running.absent = world.missing, sorted(world.absent)
    files.write_running(running)
    starter.stands()
    warm_up()
    walls.enter_root(world)

    def open_gate() -> None:
        walls.jail(world)
        files.write_begun()

    never, _open = os.pipe2(os.O_CLOEXEC)

    def run() -> Ending:
        os.read(never, 1)
        return Ending(0, "exited")

    supervisor = Supervisor(run, signals, stdio.Ends(), None, files.server, {}, open_gate)
    return Run(supervisor, files.exit, Limits(), lasting=entry.lasting)
