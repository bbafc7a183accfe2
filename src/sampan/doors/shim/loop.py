"""The server's loop: descriptors that are watched, moments that come, children that end. One thread, no other wait."""

from __future__ import annotations

import _signal
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READABLE, WRITABLE = select.POLLIN, select.POLLOUT


class Loop:
    """Calls what was asked for when it happens; `stop` ends it."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._soon: list[Callable[[], None]] = []
        self._stopped = False
        self._wakeup, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._child_ended: Callable[[], None] = lambda: None
        _signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        self.watch(self._wakeup, READABLE, self._woken)

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        """Calls `callback` with what poll(2) says whenever `fd` is ready; an `fd` that is watched gets the new mask."""
        self._callbacks[fd] = callback
        self._poll.register(fd, mask)

    def forget(self, fd: int) -> None:
        """Watches it no more; to be called before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def collect_with(self, callback: Callable[[], None]) -> None:
        """Calls `callback`, at some time after a child ended, to collect all that have."""
        self._child_ended = callback

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls `callback` once, `seconds` from now."""
        self._count += 1
        self._due.append((time.monotonic() + seconds, self._count, callback))
        self._due.sort()

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls `callback` once everything that is ready now was dealt with: for work that nobody waits for."""
        self._soon.append(callback)

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Serves until it is stopped."""
        while not self._stopped:
            self._turn()

    def _turn(self) -> None:
        for fd, mask in self._poll.poll(self._patience()):
            callback = self._callbacks.get(fd)  # an earlier one may have ended it
            if callback is not None:
                callback(mask)
        soon, self._soon = self._soon, []
        for task in soon:
            task()
        while self._due and self._due[0][0] <= time.monotonic():
            self._due.pop(0)[2]()

    def _patience(self) -> float | None:
        if self._soon:
            return 0
        return max(0.0, self._due[0][0] - time.monotonic()) * 1000 + 1 if self._due else None

    def _woken(self, _: int) -> None:
        try:
            os.read(self._wakeup, 512)
        except BlockingIOError:
            pass
        self._child_ended()
