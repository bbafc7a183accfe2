"""A container in the foreground: signals go on to it, a terminal's bytes both ways, and its exit code comes back."""

from __future__ import annotations

import _signal
import _socket
import os
import select

from sampan.core.errors import NotFound
from sampan.linux import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sampan.container.store import Entry

CHUNK = 64 << 10
WINDOW_SIZE = 8  # bytes of a struct winsize
FORWARDED = (
    _signal.SIGTERM,
    _signal.SIGINT,
    _signal.SIGHUP,
    _signal.SIGQUIT,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
)


class Foreground:
    """Holds this process's signals and terminal for as long as the container runs; a context manager.

    Attributes:
        console_fd: a connection that takes the container's terminal; -1 where none is wanted. It is
            closed when the terminal was taken.
    """

    def __init__(self, *, terminal: bool) -> None:
        self._ours: _socket.socket | None = None
        self.console_fd = -1
        if terminal:
            self._ours, theirs = _socket.socketpair(
                _socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC
            )
            self.console_fd = theirs.detach()
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._modes: Any = None
        self._input_ended = False

    def __enter__(self) -> Foreground:
        _signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (*FORWARDED, _signal.SIGWINCH, _signal.SIGCHLD):
            _signal.signal(number, lambda *_: None)
        processes.set_child_subreaper()
        return self

    def __exit__(self, *_: object) -> None:
        if self._modes is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)

    def wait(self, entry: Entry) -> int:
        """Serves until the container has ended; its exit code."""
        run = entry.running
        assert run is not None  # it was started
        return self.serve(run.pid, run.start_time)

    def serve(self, pid: int, start_time: int) -> int:
        """Serves until the child `pid` has ended; its exit code, 128+n for a signal."""
        master = self._take_terminal()
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._flush(master)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            for fd in self._ready(master):
                if fd == self._wake:
                    self._forward(pid, start_time, master)
                elif fd == 0:
                    self._copy(0, master)
                elif fd == master and not self._copy(master, 1):
                    os.close(master)
                    master = -1

    def _ready(self, master: int) -> Iterable[int]:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if master >= 0:
            poll.register(master, select.POLLIN)
            if not self._input_ended:
                poll.register(0, select.POLLIN)
        return [fd for fd, _ in poll.poll()]

    def _forward(self, pid: int, start_time: int, master: int) -> None:
        for number in os.read(self._wake, 64):
            if number == _signal.SIGWINCH and master >= 0:
                self._resize(master)
            elif number in FORWARDED:
                try:
                    processes.send_signal(pid, start_time, number)
                except NotFound:  # it ended just now
                    return

    def _copy(self, source: int, target: int) -> bool:
        try:
            data = os.read(source, CHUNK)
        except OSError:  # EIO: the other end of the terminal is closed
            data = b""
        if not data and source == 0:
            self._input_ended = True
            os.write(target, b"\4")
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(target, view) :]
            except OSError:  # nobody reads any more
                return source != 0
        return bool(data)

    def _flush(self, master: int) -> None:
        if master >= 0:
            os.set_blocking(master, False)
            while self._copy(master, 1):
                pass

    def _take_terminal(self) -> int:
        """The master that the container sent; -1 for a container without a terminal."""
        if self._ours is None:
            return -1
        os.close(self.console_fd)  # the container's process has it now
        self.console_fd = -1
        _, ancillary, _, _ = self._ours.recvmsg(64, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        self._ours.close()
        if not ancillary:
            return -1
        master = int.from_bytes(ancillary[0][2][:4], "little")
        if os.isatty(0):
            import termios
            import tty

            self._modes = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSADRAIN)
            self._resize(master)
        return master

    def _resize(self, master: int) -> None:
        import fcntl
        import termios

        try:
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(WINDOW_SIZE))
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        except OSError:  # our input is no terminal
            return
