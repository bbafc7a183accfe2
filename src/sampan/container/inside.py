"""Ways into a container's world from outside: `exec` of another workload, and work on its files for `cp`."""

from __future__ import annotations

import os
import time

from sampan.container import control, stdio, walls, workload
from sampan.container.launch import Run, begin, hear_report, launch, report_error, warm_up
from sampan.container.reaper import ended
from sampan.container.records import Exit
from sampan.container.supervisor import Supervisor
from sampan.core.errors import Denied, Precondition, SampanError, from_os_error
from sampan.linux import namespaces
from sampan.linux.cgroups import Cgroup
from sampan.linux.processes import open_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Process


def execute(
    entry: Entry, roots: Roots, wanted: Process, *, keep_stdin: bool, mode: str = stdio.INHERIT
) -> int:
    """Starts another workload of a running container's root filesystem as a child of this process; its pid.

    It has the container's namespaces, mounts, cgroup, walls and grants, and its own arguments. Reap it with
    `reap_execution`.

    Args:
        mode: `stdio.INHERIT` or `stdio.NOWHERE`.

    Raises:
        Precondition: the container is not running. SampanError: what stopped the start.
    """
    _check_running(entry)
    return _fork(
        lambda report: launch(
            lambda: _prepare(entry, roots, wanted, keep_stdin, mode, report),
            report,
            lambda _: None,
            f"exec in container {entry.container.name}",
        )
    )


def reap_execution(pid: int) -> Exit:
    """Waits for a child that `execute` made; how it ended."""
    status = os.waitpid(pid, 0)[1]
    return ended(status) or Exit(os.waitstatus_to_exitcode(status), "exited", time.time_ns())


def _prepare(entry: Entry, roots: Roots, wanted: Process, keep_stdin: bool, mode: str, report: int) -> Run:
    signals = begin(report)
    spec = entry.spec.replace(process=wanted)
    container = entry.container.replace(module="")
    root, spaces = _world_of(entry)
    world = walls.join(container, spec, root, private=bool(spaces))
    program, grants = workload.load(world, roots, None)
    run = entry.running
    if run is not None and walls.CGROUP not in run.absent:
        Cgroup(container.id).attach()
    stdio.arrange(mode, keep_stdin=keep_stdin, terminal=False)
    supervisor = Supervisor(lambda: program.run(grants), signals, stdio.Ends(), None, None, {})
    supervisor.end_with(_end_of(entry))
    warm_up()
    import resource  # noqa: F401 - the jail needs it, where no module can be loaded any more

    _enter(spaces)
    walls.jail(world)
    return Run(supervisor, -1, grants.limits)


def with_files(entry: Entry, work: Callable[[int], None], *, writes: bool) -> None:
    """Calls `work` with a descriptor of the container's root filesystem, mounts included, in a child process.

    The container may run or not; in the child, its mount namespace is entered or made. There, nothing can be
    imported any more.

    Args:
        writes: whether `work` changes files.

    Raises:
        Denied: it `writes`, and the files are those of the image (without a mount namespace).
        SampanError: what `work` raised.
    """

    def child(report: int) -> NoReturn:
        try:
            if entry.is_alive():
                root, spaces = _world_of(entry)
                private = bool(spaces)
                _enter(spaces)
            else:
                world = walls.build(entry.folder, entry.container, entry.spec)
                root, private = world.root, world.private
            if writes and not private:
                raise Denied(
                    "without a mount namespace, a container's files are the image's own, and read-only"
                )
            work(root)
        except OSError as error:
            report_error(report, from_os_error(error, f"copy files of container {entry.container.name}"))
            os._exit(1)
        except SampanError as error:
            report_error(report, error)
            os._exit(1)
        os.write(report, b"{}")
        os._exit(0)

    if entry.is_alive():
        os.waitpid(_fork(child), 0)
    else:
        with entry.lock():  # its files must not be mounted twice
            os.waitpid(_fork(child), 0)


def _fork(child: Callable[[int], NoReturn]) -> int:
    """Forks, runs `child` with the pipe that it reports to, and waits for that report; the child's pid."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            child(write)
        finally:
            os._exit(125)
    os.close(write)
    try:
        hear_report(read)
    except SampanError:
        os.waitpid(pid, 0)
        raise
    return pid


def _check_running(entry: Entry) -> None:
    if not entry.is_alive():
        raise Precondition(
            f"container {entry.container.name} is not running", fix=f"sampan start {entry.container.name}"
        )


def _end_of(entry: Entry) -> int:
    """A pidfd of a running container's process."""
    run = entry.running
    pidfd = open_pidfd(run.pid) if run is not None else -1
    _check_running(entry)  # only now is it sure that the pid was still the container's
    return pidfd


def _world_of(entry: Entry) -> tuple[int, dict[int, int]]:
    """A running container's root filesystem, and its namespaces by their CLONE_NEW flag."""
    flags, fds = control.ask(entry.folder, {"do": "world"})
    return fds[0], dict(zip(flags, fds[1:], strict=True))


def _enter(spaces: dict[int, int]) -> None:
    """The user namespace is first: it gives the right to enter the others."""
    for flag in sorted(spaces, key=lambda f: f != namespaces.NEWUSER):
        namespaces.enter(spaces[flag], flag)
