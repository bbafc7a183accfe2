"""Events to containerd: one kept connection, one event at a time, in order, none lost while containerd is away.

What cannot be delivered waits in a file of the server's folder, so that a pod of many exits costs no memory while
containerd is down, and a server that was killed leaves them to the next one of its pod. An event leaves the file when
containerd has answered it.
"""

from __future__ import annotations

import _socket
import os
import time

from sampan.core.errors import SampanError
from sampan.doors.shim import messages
from sampan.doors.shim.loop import READABLE, WRITABLE
from sampan.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.shim.loop import Loop
    from sampan.wire.protobuf import Message

SERVICE, METHOD = "containerd.services.events.ttrpc.v1.Events", "Forward"
NAME = "events"
SIZE = 4  # bytes of an event's length in the file
RETRY_SECONDS, ANSWER_SECONDS = 0.5, 10.0
TOPICS: dict[type[Message], str] = {
    messages.TaskCreate: "/tasks/create",
    messages.TaskStart: "/tasks/start",
    messages.TaskExit: "/tasks/exit",
    messages.TaskDelete: "/tasks/delete",
    messages.TaskOOM: "/tasks/oom",
    messages.TaskPaused: "/tasks/paused",
    messages.TaskResumed: "/tasks/resumed",
    messages.TaskExecAdded: "/tasks/exec-added",
    messages.TaskExecStarted: "/tasks/exec-started",
}


class Publisher:
    """Sends events to the socket at `address`; the ones that wait are in `folder`.

    With no address, nobody wants them.
    """

    def __init__(self, loop: Loop, address: str, namespace: str, folder: str) -> None:
        self._loop = loop
        self._address = address.removeprefix("unix://")
        self._namespace = namespace
        self._file = os.open(f"{folder}/{NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = os.fstat(self._file).st_size
        self._position = 0
        self._head: bytes | None = None  # the event that is on its way
        self._memory: list[bytes] = []  # those behind it, as long as containerd takes them
        self._connection: _socket.socket | None = None
        self._decoder = ttrpc.Decoder()
        self._stream = 1
        self._unsent = b""
        self._sent_at = 0.0
        self._watches = self._retries = False
        if self._end:
            self._next()

    @property
    def idle(self) -> bool:
        """Whether everything was delivered."""
        return self._head is None and not self._memory and self._position >= self._end

    def close(self) -> None:
        """Sends no more; what was not delivered is left in the file."""
        if self._connection is not None:
            self._loop.forget(self._connection.fileno())
            self._connection.close()
        os.close(self._file)

    def publish(self, event: Message) -> None:
        """Sends an event, after all that were published before it."""
        if not self._address:
            return
        value = messages.Any(f"containerd.events.{type(event).__name__}", event.encode())
        now = messages.Timestamp.of(time.time_ns())
        envelope = messages.Envelope(now, self._namespace, TOPICS[type(event)], value)
        data = messages.ForwardRequest(envelope).encode()
        if self._retries or self._position < self._end:
            self._keep(data)
        else:
            self._memory.append(data)
        if self._head is None and not self._retries:
            self._next()

    def _keep(self, data: bytes) -> None:
        """Puts an event into the file; where the disk is full, it stays in memory."""
        try:
            os.pwrite(self._file, len(data).to_bytes(SIZE, "big") + data, self._end)
        except OSError:
            self._memory.append(data)
        else:
            self._end += SIZE + len(data)

    def _next(self) -> None:
        """Takes up the next event that waits: those of the file are the older ones."""
        if self._position < self._end:
            size = int.from_bytes(os.pread(self._file, SIZE, self._position), "big")
            self._head = os.pread(self._file, size, self._position + SIZE)
            if len(self._head) != size or not size:  # its writer was killed in the middle of it
                self._head = None
                self._clear()
        if self._head is None and self._memory:
            self._head = self._memory.pop(0)
        if self._head is not None:
            self._send()

    def _clear(self) -> None:
        os.ftruncate(self._file, 0)
        self._position = self._end = 0

    def _delivered(self) -> None:
        self._stream += 2
        self._head = None
        if self._position < self._end:
            self._position += SIZE + int.from_bytes(os.pread(self._file, SIZE, self._position), "big")
            if self._position >= self._end:
                self._clear()
        self._next()

    def _send(self) -> None:
        assert self._head is not None  # there is something to send
        if self._connection is None and not self._connect():
            self._retry()
            return
        self._unsent = ttrpc.request(self._stream, SERVICE, METHOD, self._head)
        self._sent_at = time.monotonic()
        if not self._watches:
            self._watches = True
            self._loop.after(ANSWER_SECONDS, self._check_answered)
        self._flush()

    def _check_answered(self) -> None:
        self._watches = self._connection is not None and self._head is not None
        if not self._watches:
            return
        if time.monotonic() - self._sent_at >= ANSWER_SECONDS:
            self._watches = False
            self._lost()
        else:
            self._loop.after(ANSWER_SECONDS, self._check_answered)

    def _connect(self) -> bool:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        connection.setblocking(False)
        try:
            connection.connect(self._address)
        except (OSError, ValueError):
            connection.close()
            return False
        self._connection, self._decoder, self._stream = connection, ttrpc.Decoder(), 1
        return True

    def _flush(self) -> None:
        assert self._connection is not None  # there is something to send
        try:
            while self._unsent:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._lost()
            return
        self._loop.watch(self._connection.fileno(), READABLE | (WRITABLE if self._unsent else 0), self._ready)

    def _ready(self, mask: int) -> None:
        assert self._connection is not None  # it is watched
        if mask & WRITABLE:
            self._flush()
        if not mask & ~WRITABLE or self._connection is None:
            return
        try:
            data = self._connection.recv(64 << 10)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        for frame in self._decoder.feed(data):
            if frame.type == ttrpc.RESPONSE and frame.stream == self._stream and self._head is not None:
                try:
                    ttrpc.read_answer(frame.data or b"")
                except SampanError:  # containerd does not want this one: trying again would not help
                    pass
                self._delivered()

    def _lost(self) -> None:
        """The connection is gone: what was not answered is sent again over the next one."""
        if self._connection is not None:
            self._loop.forget(self._connection.fileno())
            self._connection.close()
            self._connection = None
        if self._head is not None:
            self._retry()

    def _retry(self) -> None:
        """Puts all that waits into the file, in order, and tries again later."""
        waiting, self._memory = self._memory, []
        if self._position >= self._end:
            self._clear()
            if self._head is not None:
                waiting.insert(0, self._head)
        self._head = None
        for data in waiting:
            self._keep(data)
        if not self._retries:
            self._retries = True
            self._loop.after(RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._retries = False
        if self._head is None:
            self._next()
