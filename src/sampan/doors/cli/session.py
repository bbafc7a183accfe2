"""A person at a running container: output shown, input passed in, signals passed on, until one of both leaves."""

from __future__ import annotations

import _signal
import _socket
import os
import select
import sys

from sampan.container import control, ending
from sampan.core import strictjson
from sampan.core.errors import SampanError
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.container.store import Entry
    from sampan.core.roots import Roots

PASSED_ON = (
    _signal.SIGINT,
    _signal.SIGTERM,
    _signal.SIGHUP,
    _signal.SIGQUIT,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
)
SIGKILL = 9


class Wishes(Record):
    """What the person wants: to type, to see which streams, to leave by which keys, to have signals passed on."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    detach_keys: list[int] = []
    sig_proxy: bool = True


class SignalPipe:
    """Signals as bytes on a descriptor; while it is open they do nothing else."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: _signal.signal(number, lambda *_: None) for number in numbers}

    def read(self) -> bytes:
        try:
            return os.read(self.fd, 64)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        _signal.set_wakeup_fd(self._wakeup)
        os.close(self.fd)
        os.close(self._write)


def catch_signals() -> SignalPipe:
    """From here on signals wait for `wait_for_child`: none may end us between a child's start and that."""
    return SignalPipe(PASSED_ON)


def wait_for_child(pid: int, signals: SignalPipe, send: Callable[[int], None]) -> None:
    """Waits until a child that has our own descriptors has ended; the caller reaps it.

    Args:
        signals: caught since before the child was started; closed.
        send: is called with the number of each signal that comes meanwhile; SIGKILL for a second Ctrl-C.
    """
    from sampan.linux.processes import open_pidfd

    pidfd = open_pidfd(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(signals.fd, select.POLLIN)
        interrupted = 0
        while pidfd not in dict(poll.poll()):
            for number in signals.read():
                interrupted += number == _signal.SIGINT
                send(SIGKILL if interrupted > 1 and number == _signal.SIGINT else number)
    finally:
        os.close(pidfd)
        signals.close()


def pass_on(entry: Entry, roots: Roots, number: int) -> None:
    """Sends a container a signal, if it still runs."""
    try:
        ending.kill(entry, roots, number)
    except SampanError:  # it has just ended
        return


class Session:
    """An attached terminal or pipe.

    Raises:
        Precondition: the container is not running.
    """

    def __init__(self, entry: Entry, roots: Roots, wishes: Wishes) -> None:
        self._entry = entry
        self._roots = roots
        self._wishes = wishes
        process = entry.spec.process
        self._terminal = process is not None and process.terminal
        self._connection = control.request(entry.folder, {"do": "attach"})
        self._typed = b""
        self._waiting: list[bytes] = []
        self._input_open = wishes.stdin
        self._interrupted = 0

    def run(self) -> int | None:
        """Serves until the container ends (its exit code) or the person leaves (None)."""
        control.receive(self._connection)
        numbers = PASSED_ON if self._wishes.sig_proxy else ()
        signals = SignalPipe((*numbers, _signal.SIGWINCH) if self._terminal else numbers)
        raw = _RawTerminal(0) if self._terminal and self._wishes.stdin and os.isatty(0) else None
        if self._terminal:
            self._send_size()
        try:
            while True:
                for fd, events in self._poll(signals.fd):
                    if fd == signals.fd:
                        self._signalled(signals.read())
                    elif fd == 0:
                        if self._type():
                            return None
                    elif events & ~select.POLLOUT:
                        code = self._show()
                        if code is not None:
                            return code
                    else:
                        self._send_waiting()
        finally:
            if raw is not None:
                raw.restore()
            signals.close()
            self._connection.close()

    def _poll(self, signals: int) -> list[tuple[int, int]]:
        """Waits for what matters now; input is not read while the container has not taken the last of it."""
        poll = select.poll()
        poll.register(signals, select.POLLIN)
        poll.register(self._connection.fileno(), select.POLLIN | (select.POLLOUT if self._waiting else 0))
        if self._input_open and not self._waiting:
            poll.register(0, select.POLLIN)
        return poll.poll()

    def _show(self) -> int | None:
        """Shows one packet; the exit code when it was the last one."""
        try:
            data, _ = control.receive(self._connection)
        except ConnectionResetError:  # it ended before it took our input; what it said before is still there
            return None
        if not data:  # killed before it could say how it ended
            record = ending.wait(self._entry)
            return record.code if record is not None else 137
        if data[:1] == control.ENDED:
            return int(strictjson.loads(data[1:])["code"])
        if data[:1] == control.STDOUT and self._wishes.stdout:
            _write_all(1, data[1:])
        elif data[:1] == control.STDERR and self._wishes.stderr:
            _write_all(2, data[1:])
        return None

    def _type(self) -> bool:
        """Passes input on; whether the keys to leave were typed."""
        data = os.read(0, control.MAX_DATA)
        if not data:
            self._input_open = False
            self._send(control.STDIN_END)
            return False
        keys = bytes(self._wishes.detach_keys)
        if keys and self._terminal:
            self._typed = (self._typed + data)[-len(keys) :]
            if self._typed == keys:
                return True
        self._send(control.STDIN + data)
        return False

    def _send(self, packet: bytes) -> None:
        self._waiting.append(packet)
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Sends what the container takes now: it may first want its output to be taken."""
        while self._waiting:
            try:
                self._connection.send(self._waiting[0], _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:  # it has ended: what it sent last says how
                self._input_open = False
                self._waiting.clear()
                return
            del self._waiting[0]

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == _signal.SIGWINCH:
                self._send_size()
                continue
            self._interrupted += number == _signal.SIGINT
            pass_on(self._entry, self._roots, SIGKILL if self._interrupted > 1 else number)

    def _send_size(self) -> None:
        try:
            columns, rows = os.get_terminal_size(1 if os.isatty(1) else 0)
        except OSError:
            return
        self._send(control.RESIZE + strictjson.dumps({"rows": rows, "columns": columns}))


class _RawTerminal:
    """A terminal that passes every key on, until it is restored."""

    def __init__(self, fd: int) -> None:
        import termios
        import tty

        self._fd = fd
        self._before = termios.tcgetattr(fd)
        tty.setraw(fd)

    def restore(self) -> None:
        import termios

        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def flush() -> None:
    """Brings our own output out before somebody else writes to the same descriptors."""
    sys.stdout.flush()
    sys.stderr.flush()
