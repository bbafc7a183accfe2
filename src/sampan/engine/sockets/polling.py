"""`poll_oneoff` for a guest with sockets: clocks, sockets, standard streams and files in one wait.

The engine's own `poll_oneoff` reads standard input ahead on a thread, and nobody else could then see whether there
is something to read. So in such a guest the descriptors 0 to 2 are polled here, as what they are: the process's
own. Files (the engine's descriptors from 3 on) are always ready; the engine knows which of them are open.
"""

from __future__ import annotations

import time
from errno import EBADF, EINVAL
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, poll

from sampan.engine.sockets.interface import (
    CLOCK_ABSOLUTE,
    EVENT,
    EVENT_CLOCK,
    EVENT_HANGUP,
    EVENT_READ,
    EVENT_WRITE,
    FIRST_DESCRIPTOR,
    HOST_ERRNO,
    MOST_SUBSCRIPTIONS,
    SUBSCRIPTION,
    U32,
    WASI_ERRNO,
    refuse,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.engine.sockets.memory import GuestMemory
    from sampan.engine.sockets.table import GuestSocket, Table

    Subscription = tuple[int, int, int, int, int, int]

CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1
_CLOCKS = {CLOCK_REALTIME: time.CLOCK_REALTIME, CLOCK_MONOTONIC: time.CLOCK_MONOTONIC}
_LONGEST_WAIT = 1 << 30  # milliseconds; poll(2) takes an int
_MILLISECOND = 1_000_000
_LONGEST_PAUSE = 32  # milliseconds


class Waiting:
    """One call: what is waited for, by its place in the guest's list, and what has happened."""

    def __init__(self, table: Table, stdio: set[int]) -> None:
        self._table = table
        self._stdio = stdio
        self._interest: dict[int, int] = {}  # host descriptor -> events
        self._sources: list[tuple[int, Subscription, list[int]]] = []
        self._clocks: list[tuple[int, Subscription, int]] = []
        self._writers: dict[int, GuestSocket] = {}  # by the host's descriptor
        self.files: list[tuple[int, Subscription]] = []
        self.events: list[tuple[int, tuple[int, ...]]] = []

    def add(self, place: int, subscription: Subscription) -> None:
        """Sort one subscription to its kind; one that cannot be had is an event at once."""
        _, tag, number, timeout, _, flags = subscription
        if tag == EVENT_CLOCK:
            if number not in _CLOCKS:
                self.happened(place, subscription, EINVAL)
                return
            now = time.clock_gettime_ns(_CLOCKS[number]) if flags & CLOCK_ABSOLUTE else 0
            self._clocks.append((place, subscription, max(timeout - now, 0)))
        elif tag not in (EVENT_READ, EVENT_WRITE):
            raise refuse(EINVAL)
        elif number in self._stdio:
            self._listen(place, subscription, [number])
        elif number < FIRST_DESCRIPTOR:
            self.files.append((place, subscription))
        else:
            try:
                guest = self._table.get(number)
            except OSError:
                self.happened(place, subscription, EBADF)
            else:
                self._listen(place, subscription, [host.fileno() for host in guest.hosts()])
                if tag == EVENT_WRITE:
                    self._writers[guest.host.fileno()] = guest

    def _listen(self, place: int, subscription: Subscription, numbers: list[int]) -> None:
        self._sources.append((place, subscription, numbers))
        mask = POLLIN if subscription[1] == EVENT_READ else POLLOUT
        for number in numbers:
            self._interest[number] = self._interest.get(number, 0) | mask

    @property
    def only_files(self) -> bool:
        """Whether the engine's own function can do it all."""
        return not self._sources and bool(self.files)

    def happened(
        self, place: int, subscription: Subscription, error: int = 0, size: int = 0, flags: int = 0
    ) -> None:
        user_data, tag = subscription[:2]
        number = WASI_ERRNO[error] if error else 0
        self.events.append((place, (user_data, number, tag, size, flags)))

    def wait(self) -> None:
        """Wait until something happens; events that are there already make it a look without waiting."""
        started, passed = time.monotonic_ns(), 0
        length = 0 if self.events else min((length for *_, length in self._clocks), default=None)
        self._pause(length)
        waiting = poll()
        for number, mask in self._interest.items():
            waiting.register(number, mask)
        while True:
            # Rounded up: a clock is never early.
            left = _LONGEST_WAIT if length is None else -((passed - length) // _MILLISECOND)
            ready = dict(waiting.poll(min(left, _LONGEST_WAIT)))
            passed = time.monotonic_ns() - started
            if ready or (length is not None and passed >= length):
                break
        self._collect(ready, passed)

    def _pause(self, length: int | None) -> None:
        """Hold back what a guest is told again and again: that a socket is writable, when it writes nothing.

        Guests made with WasmEdge's tokio ask for both directions of every connection in every poll, so an idle one
        would keep a processor busy. The longer nothing is written, the longer is the pause (1 to 32 ms); anything
        else that happens ends it.
        """
        told = {number: guest.told_writable for number, guest in self._writers.items() if guest.told_writable}
        if not told or length == 0:
            return
        pause = min(1 << min(min(told.values()) - 1, 10), _LONGEST_PAUSE)
        waiting = poll()
        for number, mask in self._interest.items():
            waiting.register(number, mask & ~POLLOUT if number in told else mask)
        waiting.poll(pause if length is None else min(pause, -(-length // _MILLISECOND)))

    def _collect(self, ready: dict[int, int], passed: int) -> None:
        for place, subscription, numbers in self._sources:
            wanted = (POLLIN if subscription[1] == EVENT_READ else POLLOUT) | POLLERR | POLLHUP | POLLNVAL
            seen = 0
            for number in numbers:
                seen |= ready.get(number, 0) & wanted
            if seen & POLLNVAL:
                self.happened(place, subscription, EBADF)
            elif seen:
                self.happened(place, subscription, size=1, flags=EVENT_HANGUP if seen & POLLHUP else 0)
                if subscription[1] == EVENT_WRITE and (guest := self._writers.get(numbers[0])):
                    guest.told_writable += 1
        for place, subscription, length in self._clocks:
            if passed >= length:
                self.happened(place, subscription)


def poll_oneoff(
    memory: GuestMemory,
    table: Table,
    stdio: set[int],
    file_status: Callable[[int, int], int],
    arguments: tuple[int, ...],
) -> bool:
    """Wait, and write the events in the order of the subscriptions.

    Args:
        file_status: the engine's `fd_fdstat_get`: a descriptor and a place for 24 bytes in, errno out.

    Returns:
        True when the whole call is the engine's.

    Raises:
        OSError: EINVAL for no or far too many subscriptions or an unknown kind, EFAULT.
    """
    start, out, count, count_out = arguments
    if not 0 < count <= MOST_SUBSCRIPTIONS:
        raise refuse(EINVAL)
    wanted = memory.slice(start, count * SUBSCRIPTION.size)
    room = memory.slice(out, count * EVENT.size)
    count_place = memory.slice(count_out, 4)
    waiting = Waiting(table, stdio)
    for place, subscription in enumerate(SUBSCRIPTION.iter_unpack(wanted)):
        waiting.add(place, subscription)
    if waiting.only_files:
        return True
    for place, subscription in waiting.files:
        error = file_status(subscription[2], out)
        waiting.happened(place, subscription, HOST_ERRNO[error] if error else 0, size=0 if error else 1)
    waiting.wait()
    waiting.events.sort()
    for number, (_, event) in enumerate(waiting.events):
        EVENT.pack_into(room, number * EVENT.size, *event)
    U32.pack_into(count_place, 0, len(waiting.events))
    return False
