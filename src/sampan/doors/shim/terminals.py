"""A process's terminal: how its master comes to the server, and the bytes between it and containerd's fifos."""

from __future__ import annotations

import _socket
import os
import sys

from sampan.container.stdio import resize
from sampan.core.errors import Precondition
from sampan.doors.shim.relays import Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.shim.loop import Loop
    from sampan.doors.shim.streams import Ends

NAME = "console"
END_OF_FILE = b"\4"


class Console:
    """Where the master of a new terminal is sent to: a connection for a process of ours, a socket's path for runc."""

    def __init__(self) -> None:
        self._ours: _socket.socket | None = None
        self._theirs = -1
        self._folder = -1
        self._listens = False

    def connection(self) -> int:
        """A descriptor that the master is sent over; it is closed with this object."""
        self._ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._theirs = theirs.detach()
        return self._theirs

    def listen(self, folder: str) -> str:
        """The path of a socket that takes the master, valid for as long as this process lives."""
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._ours = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._unlink()
        path = f"/proc/{os.getpid()}/fd/{self._folder}/{NAME}"  # paths of sockets are short, those of folders are not
        self._ours.bind(path)
        self._ours.listen(1)
        self._listens = True
        return path

    def master(self) -> int:
        """The master that was sent.

        Raises:
            Precondition: none was.
        """
        assert self._ours is not None  # somebody was told where to send it
        try:
            self._ours.setblocking(False)  # it was sent before the process stood
            taker = self._ours
            if self._listens:
                taker = _socket.socket(fileno=self._ours._accept()[0])  # type: ignore[attr-defined]
            _, rights, _, _ = taker.recvmsg(64, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
            if taker is not self._ours:
                taker.close()
        except OSError:
            rights = []
        if not rights:
            raise Precondition("the new process gave no terminal")
        return int.from_bytes(rights[0][2][:4], sys.byteorder)

    def close(self) -> None:
        if self._ours is not None:
            self._ours.close()
        if self._theirs >= 0:
            os.close(self._theirs)
        if self._folder >= 0:
            self._unlink()
            os.close(self._folder)

    def _unlink(self) -> None:
        try:
            os.unlink(NAME, dir_fd=self._folder)
        except FileNotFoundError:
            return


class Terminal:
    """A process's terminal by its master, with copies between it and the fifos."""

    def __init__(self, loop: Loop, master: int, ends: Ends) -> None:
        self._master = master
        self._output = Relay(loop, os.dup(master), ends.stdout)
        self._input = Relay(loop, ends.stdin, os.dup(master), END_OF_FILE)
        ends.stdin = ends.stdout = -1

    def resize(self, rows: int, columns: int) -> None:
        """Sets the size, in characters."""
        resize(self._master, min(rows, 0xFFFF), min(columns, 0xFFFF))

    def end_input(self) -> None:
        """Lets the process see the end of its input."""
        self._input.finish()

    def finish(self) -> None:
        """The process has ended: what it wrote is copied, as fast as the fifo takes it."""
        self._output.finish()
        self._input.close()

    def close(self) -> None:
        """Ends it, whatever was not copied yet."""
        self._output.close()
        self._input.close()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
