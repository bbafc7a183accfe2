"""A process's terminal: how its master comes to the server, and the bytes between it and containerd's fifos.

Nothing waits here: what a fifo does not take now is kept, and no more is read until it does.
"""

from __future__ import annotations

import _socket
import os
import sys

from sampan.container.stdio import resize
from sampan.core.errors import Precondition
from sampan.doors.shim.loop import READABLE, WRITABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.shim.loop import Loop
    from sampan.doors.shim.streams import Ends

CHUNK = 64 << 10
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
    """Copies between a master and the fifos, opened non-blocking, until the master ends."""

    def __init__(self, loop: Loop, master: int, ends: Ends) -> None:
        self._loop = loop
        self._master = master
        self._ends = ends
        self._output = b""
        self._input = b""
        os.set_blocking(master, False)
        self._watch()

    def resize(self, rows: int, columns: int) -> None:
        """Sets the size, in characters; of one that has ended, nothing."""
        if self._master >= 0:
            resize(self._master, min(rows, 0xFFFF), min(columns, 0xFFFF))

    def finish(self) -> None:
        """The process has ended: what it wrote is copied, and then all is closed."""
        self._read_master()

    def close(self) -> None:
        """Ends it, whatever was not copied yet."""
        for fd in (self._master, self._ends.stdin, self._ends.stdout):
            if fd >= 0:
                self._loop.forget(fd)
        if self._master >= 0:
            os.close(self._master)
        self._master = -1
        self._output = self._input = b""
        self._ends.close()
        self._ends.close_stdin()

    def _watch(self) -> None:
        """Watches for what can be moved now: nothing is read that has nowhere to go."""
        if self._master >= 0:
            mask = (0 if self._output else READABLE) | (WRITABLE if self._input else 0)
            self._loop.watch(self._master, mask, self._on_master)
        if self._ends.stdin >= 0:
            self._loop.watch(self._ends.stdin, 0 if self._input else READABLE, lambda _: self._read_input())
        if self._ends.stdout >= 0:
            if self._output:
                self._loop.watch(self._ends.stdout, WRITABLE, lambda _: self._write_output())
            else:
                self._loop.forget(self._ends.stdout)

    def _on_master(self, mask: int) -> None:
        if mask & WRITABLE:
            self._write_input()
        if mask & ~WRITABLE and not self._output:
            self._read_master()

    def _read_master(self) -> None:
        while self._master >= 0 and not self._output:
            try:
                data = os.read(self._master, CHUNK)
            except BlockingIOError:
                break
            except OSError:  # EIO: nobody has its other side any more
                data = b""
            if not data:
                self.close()
                return
            self._output = data
            self._write_output()
        self._watch()

    def _write_output(self) -> None:
        try:
            while self._output:
                self._output = self._output[os.write(self._ends.stdout, self._output) :]
        except BlockingIOError:
            pass
        except OSError:  # a file that takes no more
            self._output = b""
        self._watch()

    def _read_input(self) -> None:
        try:
            data = os.read(self._ends.stdin, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._loop.forget(self._ends.stdin)
            os.close(self._ends.stdin)
            self._ends.stdin = -1
        self._input = data or END_OF_FILE
        self._write_input()

    def _write_input(self) -> None:
        try:
            while self._input and self._master >= 0:
                self._input = self._input[os.write(self._master, self._input) :]
        except BlockingIOError:
            pass
        except OSError:
            self._input = b""
        self._watch()
