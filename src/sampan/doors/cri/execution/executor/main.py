"""Runs a program in a running container, and tells the server over a socket of packets how that goes.

With a terminal, the first packet has the descriptor of its master. Then comes `{}` when the program runs, or the error
that stopped it, and at last `{"code": N}`. The program has this process's descriptors 0, 1 and 2. When the server
closes its end, the program is killed.
"""

from __future__ import annotations

import _socket
import os
import select

from sampan.container import control, inside
from sampan.container.starter import as_message
from sampan.container.store import Containers
from sampan.core import strictjson
from sampan.core.errors import Internal, SampanError, Unavailable, from_os_error
from sampan.core.roots import default_roots
from sampan.core.spec.runtime import Process
from sampan.linux.files import read_file
from sampan.linux.processes import open_pidfd, set_child_subreaper, set_oom_score_adj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.roots import Roots

SIGKILL = 9
CONSOLE_SECONDS = 10.0


def main(argv: list[str]) -> int:
    """Serves one program.

    Args:
        argv: the socket's descriptor, `terminal` or an empty word, the container's id, and the command.
    """
    line = int(argv[0])
    os.set_inheritable(line, False)
    try:
        pid = _start(line, argv[1] == "terminal", argv[2], argv[3:])
        _tell(line, {})
        _tell(line, {"code": _wait(line, pid)})
    except SampanError as error:
        _tell(line, as_message(error))
    except OSError as error:
        _tell(line, as_message(from_os_error(error, "run a program in the container")))
    except Exception as error:  # the outermost edge of a process
        _tell(line, as_message(Internal(f"{type(error).__name__}: {error}")))
    return 0


def _start(line: int, terminal: bool, container_id: str, command: list[str]) -> int:
    """Starts the program with the container's own user, environment and working directory; its pid."""
    set_child_subreaper()
    roots = default_roots(os.geteuid(), dict(os.environ))
    entry = Containers(roots).find(container_id)
    own = entry.spec.process or Process()
    env = ["TERM=xterm", *own.env] if terminal else own.env
    process = own.replace(args=command, env=env, terminal=terminal, console_size=None)
    _give_protection_up(own.oom_score_adj or 0)
    if entry.container.linux_runtime:
        return _start_in_linux(line, entry, roots, process)
    console = os.dup(line) if terminal else -1
    return inside.execute(entry, roots, process, keep_stdin=True, console_fd=console)


def _give_protection_up(score: int) -> None:
    """The kernel spares the server when memory is short; what runs in a container it must not spare more than that."""
    if score > int(read_file("/proc/self/oom_score_adj")):
        set_oom_score_adj(score)


def _start_in_linux(line: int, entry: Entry, roots: Roots, process: Process) -> int:
    from sampan.container.linuxruntime import LinuxRuntime

    inside.check_running(entry)
    runtime = LinuxRuntime(entry, roots)
    if not process.terminal:
        return runtime.execute_beside(process, "")
    folder = os.open(entry.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f"console-{os.getpid()}"
    path = f"/proc/{os.getpid()}/fd/{folder}/{name}"  # paths of sockets are short, those of folders are not
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    server.settimeout(CONSOLE_SECONDS)
    server.bind(path)
    try:
        server.listen(1)
        pid = runtime.execute_beside(process, path)
        _pass_master_on(server, line)
    finally:
        os.unlink(name, dir_fd=folder)
    return pid


def _pass_master_on(server: _socket.socket, line: int) -> None:
    """Sends the server the descriptor of the master that the runtime sends us."""
    connection = _socket.socket(fileno=server._accept()[0])  # type: ignore[attr-defined]
    data, masters = control.receive(connection)
    if not masters:
        raise Unavailable("the runtime for Linux containers gave no terminal")
    ours = _socket.socket(fileno=os.dup(line))
    rights = masters[0].to_bytes(4, "little")
    ours.sendmsg([data or b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    ours.close()
    connection.close()
    os.close(masters[0])


def _wait(line: int, pid: int) -> int:
    """Waits for the program's end, which comes soon when the server goes away; its exit code."""
    pidfd = open_pidfd(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(line, select.POLLIN)
    if pidfd not in dict(poll.poll()):
        _kill(pid)
    return inside.reap_execution(pid).code


def _kill(pid: int) -> None:
    """Kills a child and what it has started; both lead a process group of their own."""
    group = os.getpgid(pid)
    try:
        if group != os.getpgrp():
            os.killpg(group, SIGKILL)
        os.kill(pid, SIGKILL)
    except ProcessLookupError:  # it has just ended
        return


def _tell(line: int, value: dict[str, object]) -> None:
    try:
        os.write(line, strictjson.dumps(value))
    except OSError:  # the server has gone
        return
