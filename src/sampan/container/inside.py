"""Ways into a container's world from outside: `exec` of another workload, and work on its files for `cp`."""

from __future__ import annotations

import os
import time

from sampan.container import console, control, stdio, walls, workload
from sampan.container.files import Wish, identity
from sampan.container.launch import Run, begin, launch, warm_up
from sampan.container.reaper import ended
from sampan.container.records import Exit
from sampan.container.spaces import Spaces, own_namespaces
from sampan.container.starter import Starter, attend, conversation
from sampan.container.status import cgroup_of
from sampan.container.supervisor import Supervisor
from sampan.core.errors import Denied, Precondition, SampanError, from_os_error
from sampan.core.spec.runtime import Resources
from sampan.linux import namespaces
from sampan.linux.namespaces import NEWNS, NEWUSER
from sampan.linux.processes import open_pidfd, reap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Process, Spec

ANSWER_SECONDS = 10.0  # for a process that only has to send what it holds


def execute(
    entry: Entry,
    roots: Roots,
    wanted: Process,
    *,
    keep_stdin: bool,
    mode: str = stdio.INHERIT,
    console_fd: int = -1,
    preserved: int = 0,
) -> int:
    """Starts another workload of a running container's root filesystem; its pid.

    It has the container's namespaces, mounts, cgroup, walls and grants, and its own arguments. It is a child of this
    process, or of its reaper where it had to fork twice. Reap it with `reap_execution`.

    Args:
        mode: `stdio.INHERIT` or `stdio.NOWHERE`.
        console_fd: a connection to the console socket. preserved: how many descriptors from 3 up it keeps.

    Raises:
        Precondition: the container is not running. SampanError: what stopped the start.
    """
    check_running(entry)
    wish = Wish(mode, console_fd=console_fd, preserved=preserved)
    root, fds = _world_of(entry)
    end = -1
    try:
        end = _end_of(entry)  # here, as another pid namespace has another number for it
        return _fork(
            lambda starter: launch(
                lambda: _prepare(entry, roots, wanted, keep_stdin, wish, starter, root, fds, end),
                starter,
                lambda _: None,
                f"exec in container {entry.container.name}",
            ),
            Spaces.joining(fds),
        )
    finally:
        for fd in (root, *fds.values(), end):
            if fd >= 0:
                os.close(fd)


def reap_execution(pid: int) -> Exit:
    """Waits for a child that `execute` made; how it ended."""
    status = os.waitpid(pid, 0)[1]
    return ended(status) or Exit(os.waitstatus_to_exitcode(status), "exited", time.time_ns())


def _prepare(
    entry: Entry,
    roots: Roots,
    wanted: Process,
    keep_stdin: bool,
    wish: Wish,
    starter: Starter,
    root: int,
    fds: dict[int, int],
    end: int,
) -> Run:
    signals = begin([starter.fd, *wish.kept, root, *fds.values(), end])
    spec = entry.spec.replace(process=wanted)
    container = entry.container.replace(module="")
    world = walls.join(container, spec, root, private=bool(fds))
    source = workload.find(world)
    program = workload.load(source, world, roots)
    grants = workload.grants_of(source, world)
    run = entry.running
    if run is not None:
        world.may_set_groups = namespaces.may_set_groups(run.pid)
    if run is not None and walls.CGROUP not in run.absent:
        cgroup_of(container, spec).attach()
    if wish.console_fd >= 0:
        console.give_terminal(wish.console_fd, wanted.console_size)
    else:
        stdio.arrange(wish.mode, keep_stdin=keep_stdin, terminal=False)
    supervisor = Supervisor(lambda: program.run(grants), signals, stdio.Ends(), None, None, {})
    supervisor.end_with(end)
    warm_up()
    Spaces.joining(fds).enter(starter)
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

    def child(starter: Starter) -> NoReturn:
        try:
            if entry.is_alive():
                root, fds = _world_of(entry)
                private = bool(fds)
                Spaces.joining({flag: fd for flag, fd in fds.items() if flag in (NEWUSER, NEWNS)}).enter(None)
            else:
                world = walls.World(entry.container, _spec_of_files(entry))
                walls.build(world, entry.folder)
                root, private = world.root, world.private
            if writes and not private:
                raise Denied(
                    "without a mount namespace, a container's files are the image's own, and read-only"
                )
            work(root)
        except OSError as error:
            starter.failed(from_os_error(error, f"copy files of container {entry.container.name}"))
            os._exit(1)
        except SampanError as error:
            starter.failed(error)
            os._exit(1)
        starter.stands()
        os._exit(0)

    if entry.is_alive():
        os.waitpid(_fork(child), 0)
    else:
        with entry.lock():  # its files must not be mounted twice
            os.waitpid(_fork(child), 0)


def _spec_of_files(entry: Entry) -> Spec:
    """The spec of a container that does not run, with namespaces in which its files can be mounted."""
    spec = entry.spec
    return spec.replace(linux=own_namespaces(Resources())) if entry.container.linux_runtime else spec


def _fork(child: Callable[[Starter], NoReturn], spaces: Spaces | None = None) -> int:
    """Forks, runs `child`, and serves it until its last word; the pid of the process that goes on."""
    ours, theirs = conversation()
    try:
        pid = spaces.fork() if spaces is not None else os.fork()
        if pid == 0:
            try:
                os.close(ours)
                child(Starter(theirs))
            finally:
                os._exit(125)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    try:
        return attend(ours, pid)
    except SampanError:
        reap(pid)
        raise


def check_running(entry: Entry) -> None:
    if not entry.is_alive():
        raise Precondition(
            f"container {entry.container.name} is not running", fix=f"sampan start {entry.container.name}"
        )


def _end_of(entry: Entry) -> int:
    """A pidfd of a running container's process."""
    run = entry.running
    pidfd = open_pidfd(run.pid) if run is not None else -1
    check_running(entry)  # only now is it sure that the pid was still the container's
    return pidfd


def _world_of(entry: Entry) -> tuple[int, dict[int, int]]:
    """A running container's root filesystem, and its namespaces by their CLONE_NEW flag.

    The container's process hands them out, and a workload may have taken it over since: what it gives must be what
    was written down before the workload began.

    Raises:
        Denied: it is not. Unavailable: there is no answer.
    """
    flags, fds = control.ask(entry.folder, {"do": "world"}, ANSWER_SECONDS)
    run = entry.running
    try:
        if not isinstance(flags, list) or any(type(flag) is not int for flag in flags):
            raise TypeError
        root, spaces = fds[0], dict(zip(flags, fds[1:], strict=True))
        given = {str(flag): identity(fd) for flag, fd in spaces.items()}
        if run is None or (identity(root), given) != (run.root, run.spaces):
            raise ValueError
    except (LookupError, TypeError, ValueError):
        for fd in fds:
            os.close(fd)
        raise Denied(
            f"container {entry.container.name} does not give its own world: its process was tampered with",
            fix="kill it",
        ) from None
    return root, spaces
