"""A container's terminal, and the console socket that its caller waits on for the master's descriptor.

runc's terminal protocol (docs/terminals.md of runc, "Detached new terminal"): the runtime connects to a UNIX
stream socket and sends one message with the descriptor of the master in it.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys
import termios

from sampan.container.stdio import resize
from sampan.core.errors import Invalid, Precondition, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import ConsoleSize

MOST_PATH = 107
NAME = b"/dev/ptmx"


def connect(path: str) -> int:
    """A descriptor of a connection to the console socket at `path`.

    Raises:
        Invalid: no path of a socket. Unavailable: nobody listens there.
    """
    if len(os.fsencode(path)) > MOST_PATH or "\0" in path:
        raise Invalid(f"the console socket's path is longer than {MOST_PATH} bytes: {path[:60]!r}…")
    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        client.connect(path)
    except OSError as error:
        client.close()
        raise Unavailable(f"the console socket {path} cannot be used: {error.strerror}") from error
    return client.detach()


def give_terminal(socket_fd: int, size: ConsoleSize | None) -> None:
    """Makes a terminal, this session's own, puts it on 0, 1 and 2, and sends its master; closes the socket.

    Raises:
        Precondition: who listens does not take it.
    """
    client = _socket.socket(fileno=socket_fd)
    master, slave = os.openpty()
    try:
        if size is not None and size.height and size.width:
            resize(slave, size.height, size.width)
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        client.sendmsg([NAME], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, sys.byteorder))])
    except OSError as error:
        raise Precondition(f"the terminal cannot be handed over: {error.strerror}") from error
    finally:
        client.close()
        os.close(master)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.close(slave)
