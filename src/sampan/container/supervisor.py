"""The main thread of a container process: signals, the log and the control socket, while the workload runs.

It runs inside the jail: it opens no path and imports nothing. The workload is on another thread and is never
waited for: when a signal ends the container, the output that is there is written and the process leaves.
"""

from __future__ import annotations

import _socket
import _thread
import fcntl
import os
import select
import termios
import time

from sampan.container import control
from sampan.container.logs import STDERR, STDOUT
from sampan.container.logwriter import CriLogWriter, LogWriter
from sampan.container.starter import as_message
from sampan.container.stdio import Ends, resize
from sampan.core import strictjson
from sampan.core.errors import Exhausted, SampanError
from sampan.engine.grants import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.container.signals import Signals

CHUNK = 64 << 10
MAX_CLIENTS = 64
SIGKILL = 9
HOLD_SECONDS = 0.05  # how long the log may keep the beginning of a line for its rest


class _Client:
    """Somebody attached: gets the output, may send input. `pending` are packets that it has not taken yet."""

    def __init__(self, socket: control.Socket) -> None:
        self.socket = socket
        self.attached = False
        self.pending: list[bytes] = []


class Supervisor:
    """One run of a container: starts the workload's thread and serves until it ends.

    Args:
        run: the workload; called on a thread of its own, returns how it ended.
        log: None where nothing is captured. server: None where nobody can attach.
        answers: replies to control requests other than `attach`, `start` and `reopen`: name to function.
        gate: None for a workload that begins at once; else it waits for a `start` request, which calls this first.
    """

    def __init__(
        self,
        run: Callable[[], Ending],
        signals: Signals,
        ends: Ends,
        log: LogWriter | None,
        server: control.Socket | None,
        answers: dict[str, Callable[[control.Socket], None]],
        gate: Callable[[], None] | None = None,
    ) -> None:
        self._run = run
        self._signals = signals
        self._ends = ends
        self._outputs = {fd for fd in (ends.output, ends.errors) if fd >= 0}
        self._log = log
        self._server = server
        self._answers = answers
        self._gate = gate
        self._clients: dict[int, _Client] = {}
        self._input = bytearray()
        self._input_ended = False
        self._ending: Ending | None = None
        self._ended = False
        self._master = -1
        self._pass_on: Callable[[int], bool] | None = None
        self._done, self._done_write = os.pipe2(os.O_CLOEXEC)

    def end_with(self, pidfd: int) -> None:
        """Ends the workload when another process does, as SIGKILL would."""
        self._master = pidfd

    def pass_signals(self, pass_on: Callable[[int], bool]) -> None:
        """Gives each signal to `pass_on` instead of ending; one that it does not take (False) still ends the run."""
        self._pass_on = pass_on

    def serve(self, stack: int, patience: float) -> tuple[Ending | None, int]:
        """Runs the workload to its end or to a signal: its ending and 0, or None and the signal.

        `stack` is the size in bytes of the workload's thread; for up to `patience` seconds it waits for somebody
        to attach before it begins.
        """
        _thread.stack_size(stack)
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0 and not self._attached():
            number = self._handle(self._wait(left))
            if number:
                return None, number
        while self._gate is not None:
            number = self._handle(self._wait())
            if number:
                return None, number
        try:
            _thread.start_new_thread(self._workload, ())
        except RuntimeError as error:
            raise Exhausted(
                "no thread can be had for the workload: a limit on threads or memory is reached"
            ) from error
        while not self._ended:
            number = self._handle(self._wait())
            if number:
                self._drain()
                return None, number
        self._drain()
        return self._ending, 0

    def _handle(self, events: list[tuple[int, int]]) -> int:
        """Deals with what happened; the signal that ends the container, or 0."""
        for fd, mask in events:
            if fd == self._signals.fd:
                number = self._signals.caught()
                if number and not (self._pass_on is not None and self._pass_on(number)):
                    return number
            elif fd == self._done:
                self._ended = True
            elif fd == self._master:
                return SIGKILL
            elif self._server is not None and fd == self._server.fileno():
                self._accept(self._server)
            elif fd in self._clients:
                self._serve_client(fd, mask)
            else:
                if fd == self._ends.stdin and mask & ~select.POLLIN:
                    self._feed()
                if fd in self._outputs and mask & ~select.POLLOUT:
                    self._pump(fd)
        return 0

    def finish(self, value: object, *, wait: bool) -> None:
        """Sends everybody attached a last packet that says how the container ended.

        With `wait`, they get all of the output before this returns, unless a signal ends the wait.
        """
        for client in self._attached():
            self._send(client, control.ENDED + strictjson.dumps(value))
        while wait and any(client.pending for client in self._clients.values()):
            if self._handle(self._wait()):
                return

    def write_error(self, text: str) -> None:
        """Puts a message of ours where the workload's standard error goes."""
        data = text.encode(errors="backslashreplace")
        if self._ends.output < 0:
            _write_all(2, data)
        else:
            self._emit(STDERR if self._ends.errors >= 0 else STDOUT, data)

    def _workload(self) -> None:
        try:
            self._ending = self._run()
        except SampanError as error:
            self._ending = Ending(error.exit_code, "error", f"sampan: {error} ({error.kind})")
        except BaseException as error:  # a fault of ours must not look like an ending of the workload's
            self._ending = Ending(125, "error", f"sampan: {type(error).__name__}: {error} (INTERNAL)")
        finally:
            os.write(self._done_write, b"!")

    def _wait(self, seconds: float | None = None) -> list[tuple[int, int]]:
        """Waits for what matters now, and returns it.

        Output is not read while somebody attached has not taken the last of it, input is not heard while the
        workload has not taken the last of it: so nothing grows.
        """
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        if not self._ended:
            poll.register(self._done, select.POLLIN)
        if self._master >= 0:
            poll.register(self._master, select.POLLIN)
        if self._server is not None:
            poll.register(self._server.fileno(), select.POLLIN)
        masks = (
            {}
            if any(c.pending for c in self._clients.values())
            else dict.fromkeys(self._outputs, select.POLLIN)
        )
        if self._input:
            masks[self._ends.stdin] = masks.get(self._ends.stdin, 0) | select.POLLOUT
        for fd, client in self._clients.items():
            masks[fd] = (0 if self._input else select.POLLIN) | (select.POLLOUT if client.pending else 0)
        for fd, mask in masks.items():
            poll.register(fd, mask)
        if self._log is not None and self._log.is_holding:
            seconds = HOLD_SECONDS if seconds is None else min(seconds, HOLD_SECONDS)
        events = poll.poll(None if seconds is None else seconds * 1000)
        if not events and self._log is not None:
            self._log.release()
        return events

    def _pump(self, fd: int) -> int:
        """Moves one chunk of output on; its size, 0 when none is there."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: a terminal whose other end is closed
            data = b""
        if data:
            self._emit(STDERR if fd == self._ends.errors else STDOUT, data)
        else:
            self._outputs.discard(fd)
        return len(data)

    def _emit(self, stream: int, data: bytes) -> None:
        if self._log is not None:
            self._log.write(stream, data)
        for client in self._attached():
            self._send(client, bytes([stream]) + data)

    def _drain(self) -> None:
        """What the workload has written by now is never lost; one that goes on writing is not waited for."""
        for fd in list(self._outputs):
            left = _readable(fd)
            while left > 0 and (moved := self._pump(fd)):
                left -= moved
        if self._log is not None:
            self._log.flush()

    def _attached(self) -> list[_Client]:
        return [client for client in self._clients.values() if client.attached]

    def _accept(self, server: control.Socket) -> None:
        try:
            fd, _ = server._accept()  # type: ignore[attr-defined]
        except OSError:  # nobody any more, or no descriptors: the rest goes on
            return
        if len(self._clients) >= MAX_CLIENTS:
            os.close(fd)
            return
        connection = _socket.socket(fileno=fd)
        connection.setblocking(False)
        self._clients[fd] = _Client(connection)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.socket.fileno(), None) is not None:
            client.socket.close()

    def _serve_client(self, fd: int, events: int) -> None:
        client = self._clients[fd]
        if events & select.POLLOUT:
            waiting, client.pending = client.pending, []
            for packet in waiting:
                self._send(client, packet)
        if events & ~select.POLLOUT and fd in self._clients:
            self._hear(client)

    def _hear(self, client: _Client) -> None:
        try:
            data, given = control.receive(client.socket)
        except BlockingIOError:
            return
        except OSError:
            data, given = b"", []
        if not data:
            self._drop(client)
        elif not client.attached:
            self._request(client, control.parse_request(data), given)
        elif data[:1] == control.STDIN:
            self._input += data[1:]
            self._feed()
        elif data[:1] == control.STDIN_END:
            self._input_ended = True
            self._feed()
        elif data[:1] == control.RESIZE:
            self._resize(data[1:])
        for descriptor in given:  # what nobody wanted
            os.close(descriptor)

    def _request(self, client: _Client, request: dict[str, object], given: list[int]) -> None:
        name = request.get("do")
        if name == "attach":
            client.attached = True
            self._send(client, b"{}")
            return
        answer = self._open if name == "start" and self._gate else self._answers.get(str(name))
        try:
            if name == "reopen":
                self._reopen(client.socket, given)
            elif answer is None:
                control.send(client.socket, {"error": f"no such request: {name}"})
            else:
                answer(client.socket)
        except OSError:  # it went away
            pass
        self._drop(client)

    def _open(self, client: control.Socket) -> None:
        """Opens the gate: what stops it is told, and the container ends with it."""
        assert self._gate is not None
        try:
            self._gate()
        except SampanError as error:
            control.send(client, as_message(error))
            raise
        self._gate = None
        control.send(client, {})

    def _reopen(self, client: control.Socket, given: list[int]) -> None:
        """Goes on with the log in the file that was given."""
        if isinstance(self._log, CriLogWriter) and given:
            self._log.reopen(given.pop(0))
            control.send(client, {})
        else:
            control.send(client, {"error": "it takes no file for its log"})

    def _resize(self, data: bytes) -> None:
        try:
            size = strictjson.loads(data, what="the size")
            resize(self._ends.output, int(size["rows"]), int(size["columns"]))
        except (
            SampanError,
            OSError,
            LookupError,
            TypeError,
            ValueError,
            OverflowError,
        ):  # the client's fault alone
            return

    def _feed(self) -> None:
        """Gives the workload what its input takes now."""
        fd = self._ends.stdin
        if fd < 0:
            self._input.clear()
            return
        try:
            while self._input:
                del self._input[: os.write(fd, self._input[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:  # it closed its input
            self._input.clear()
        if self._input_ended:
            self._end_input(fd)

    def _end_input(self, fd: int) -> None:
        if self._ends.terminal:
            os.write(fd, b"\4")  # end of file, as a terminal says it
        else:
            os.close(fd)
            self._ends.stdin = -1
        self._input_ended = False

    def _send(self, client: _Client, packet: bytes) -> None:
        """What a client does not take now waits; one that went away is dropped."""
        if client.pending:
            client.pending.append(packet)
            return
        try:
            client.socket.send(packet)
        except BlockingIOError:
            client.pending.append(packet)
        except OSError:
            self._drop(client)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError:
            return


def _readable(fd: int) -> int:
    """How many bytes are in a pipe or terminal now."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")
