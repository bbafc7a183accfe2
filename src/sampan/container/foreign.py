"""The container process of a Linux image: it supervises a program that the runtime for Linux containers isolates.

It is the same process as for Wasm, with the same log, control socket and exit record; what differs is that it builds
no walls of its own. It mounts the image's root filesystem where only its own children see it, has the runtime create
the container there, and, as the parent of everything that loses its parent below it, waits for the program itself.
The program's end is the container's. What is left when this process is killed is removed by `remains.forget`.
"""

from __future__ import annotations

import _socket
import os

from sampan.container import control, remains, stdio, walls
from sampan.container.files import running_now
from sampan.container.hostfiles import give_names
from sampan.container.launch import Run, begin, warm_up
from sampan.container.linuxdefaults import UMASK
from sampan.container.linuxruntime import LinuxRuntime
from sampan.container.spaces import FILES, spaces_of
from sampan.container.status import cgroup_of
from sampan.container.supervisor import Supervisor
from sampan.core.errors import NotFound, SampanError, Unavailable, from_os_error
from sampan.core.spec.runtime import Process
from sampan.engine.grants import Ending, Limits
from sampan.linux import mounts, processes
from sampan.linux.mountoptions import NODEV, NOSUID
from sampan.linux.namespaces import NEWNS, NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.files import Files, Wish
    from sampan.container.starter import Starter
    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Spec
    from sampan.linux.cgroups import Cgroup

SIGKILL = 9
CONSOLE = "console"
CONSOLE_SECONDS = 10.0
DYING_SECONDS = 1.0


def prepare(entry: Entry, roots: Roots, wish: Wish, starter: Starter, files: Files) -> Run:
    """Makes the container, up to its program, in this just forked process.

    Raises:
        SampanError: what stopped it; `remains.forget` removes what is left.
    """
    signals = begin([starter.fd])
    container, spec = entry.container, entry.spec
    files.open(entry, wish, spec)
    remains.forget(entry, roots)  # a run whose process and parent were killed left it
    spaces_of(container, spec).enter(starter)
    os.umask(UMASK)
    _mount_root(entry, spec)
    processes.set_child_subreaper()
    runtime = LinuxRuntime(entry, roots)
    terminal = (spec.process or Process()).terminal
    if terminal:
        ends, pid = _create_with_terminal(runtime, entry.folder)
    else:
        ends = stdio.arrange(wish.mode, keep_stdin=container.keep_stdin, terminal=False)
        pid = runtime.create("")
        if wish.mode != stdio.INHERIT:
            stdio.arrange(stdio.NOWHERE, keep_stdin=False, terminal=False)  # the pipes are the program's
    root, spaces = _world_of(pid)
    cgroup = cgroup_of(container, spec)
    began = processes.start_time(pid)
    running = running_now(os.getpid(), cgroup, root, spaces)
    running.linux_pid, running.linux_start = pid, began
    files.write_running(running)
    warm_up()
    is_awaited = wish.mode == stdio.ATTACHED
    if not is_awaited:
        runtime.start()  # whoever started it may signal the program at once

    def run() -> Ending:
        if is_awaited:
            _start(runtime, pid)
        return _ending(os.waitpid(pid, 0)[1], cgroup)

    def pass_on(number: int) -> bool:
        try:
            processes.send_signal(pid, began, number)
        except NotFound:  # it has just ended
            return False
        return True

    answers = {
        "world": lambda client: control.send(client, list(spaces), [root, *spaces.values()]),
        "ports": lambda client: control.send(client, []),
    }
    supervisor = Supervisor(run, signals, ends, files.log, files.server, answers)
    supervisor.pass_signals(pass_on)
    return Run(supervisor, files.exit, Limits(), wish.patience)


def _start(runtime: LinuxRuntime, pid: int) -> None:
    """Lets the program begin; one that somebody killed before that has just ended."""
    try:
        runtime.start()
    except SampanError:
        pidfd = processes.open_pidfd(pid)
        processes.wait_ended(pidfd, DYING_SECONDS)
        os.close(pidfd)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or ended.si_code == os.CLD_EXITED:
            raise


def _mount_root(entry: Entry, spec: Spec) -> None:
    """The image's layers with the container's own on top; a set-user-id program of the image keeps its meaning."""
    propagation = spec.linux.rootfs_propagation if spec.linux is not None else ""
    root = walls.mount_layers(entry.container, entry.folder, propagation)
    try:
        if os.geteuid() == 0:
            mounts.change(root, clearing=NOSUID | NODEV)
        give_names(root, spec.hostname)
    finally:
        os.close(root)


def _world_of(pid: int) -> tuple[int, dict[int, int]]:
    """Descriptors of a program's root filesystem, and of the namespaces that are needed to work on its files."""
    flags = (NEWNS,) if os.geteuid() == 0 else (NEWUSER, NEWNS)
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return root, {
            flag: os.open(f"/proc/{pid}/ns/{FILES[flag]}", os.O_RDONLY | os.O_CLOEXEC) for flag in flags
        }
    except OSError as error:
        raise from_os_error(error, "look at the new container's files") from error


def _create_with_terminal(runtime: LinuxRuntime, folder: str) -> tuple[stdio.Ends, int]:
    """Creates a container that has a terminal of its own; the terminal's other end, and the program's pid."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    path = f"/proc/{os.getpid()}/fd/{directory}/{CONSOLE}"  # paths of sockets are short, those of folders are not
    try:
        _unlink(directory)
        server.bind(path)
        server.listen(1)
        server.settimeout(CONSOLE_SECONDS)
        pid = runtime.create(path)
        connection = _socket.socket(fileno=server._accept()[0])  # type: ignore[attr-defined]
        try:
            given = control.receive(connection)[1]
        finally:
            connection.close()
        if not given:
            raise Unavailable("the runtime for Linux containers gave no terminal")
    finally:
        server.close()
        _unlink(directory)
        os.close(directory)
    os.set_blocking(given[0], False)
    return stdio.Ends(stdin=given[0], output=given[0], terminal=True), pid


def _unlink(directory: int) -> None:
    try:
        os.unlink(CONSOLE, dir_fd=directory)
    except FileNotFoundError:
        return


def _ending(wait_status: int, cgroup: Cgroup) -> Ending:
    """How the program ended, as a shell says it."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code >= 0:
        return Ending(code, "exited")
    if -code != SIGKILL:
        return Ending(128 - code, "signal")
    return Ending(128 + SIGKILL, "oom" if cgroup.oom_kills() > 0 else "killed")
