"""WASI's own functions that must also work on our sockets: read, write, close, flags.

A call about another descriptor is passed on to the engine's WASI, but for standard input: see `polling`.
"""

from __future__ import annotations

import os
from errno import ENOTSUP
from select import POLLIN, poll

from sampan.engine.sockets.interface import (
    FDSTAT,
    FILE_TYPE,
    FIRST_DESCRIPTOR,
    FLAG_NONBLOCK,
    RIGHTS_OF_A_SOCKET,
    U32,
    refuse,
)
from sampan.engine.sockets.polling import poll_oneoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.engine.sockets.calls import Calls


class SharedCalls:
    """The functions on our own descriptors; those that return True did not feel concerned.

    Args:
        file_status: the engine's own `fd_fdstat_get`: a descriptor and a place in, errno out.

    Attributes:
        stdio: which of the descriptors 0 to 2 still are the process's own.
    """

    def __init__(self, calls: Calls, file_status: Callable[[int, int], int]) -> None:
        self._calls = calls
        self._file_status = file_status
        self._memory = calls.memory
        self._table = calls.table
        self.stdio = {0, 1, 2}

    def fd_read(self, descriptor: int, vectors: int, count: int, size_out: int) -> bool:
        if descriptor == 0 and 0 in self.stdio:
            self._read_standard_input(vectors, count, size_out)
            return False
        if descriptor < FIRST_DESCRIPTOR:
            return True
        place = self._memory.slice(size_out, 4)
        guest, buffers = self._table.get(descriptor), self._memory.vectors(vectors, count)
        U32.pack_into(place, 0, guest.host.recvmsg_into(buffers)[0])
        return False

    def _read_standard_input(self, vectors: int, count: int, size_out: int) -> None:
        """Read the process's descriptor 0: wait for it, even where somebody has made it non-blocking."""
        place, buffers = self._memory.slice(size_out, 4), self._memory.vectors(vectors, count)
        while True:
            try:
                size = os.readv(0, buffers) if buffers else 0
            except BlockingIOError:
                waiting = poll()
                waiting.register(0, POLLIN)
                waiting.poll()
            else:
                U32.pack_into(place, 0, size)
                return

    def fd_write(self, descriptor: int, vectors: int, count: int, size_out: int) -> bool:
        if descriptor < FIRST_DESCRIPTOR:
            return True
        self._calls.sock_send(descriptor, vectors, count, 0, size_out)
        return False

    def fd_close(self, descriptor: int) -> bool:
        if descriptor < FIRST_DESCRIPTOR:
            self.stdio.discard(descriptor)
            return True
        guest = self._table.remove(descriptor)
        self._calls.routes.release(guest)
        guest.close()
        return False

    def fd_renumber(self, descriptor: int, to: int) -> bool:
        if descriptor >= FIRST_DESCRIPTOR or to >= FIRST_DESCRIPTOR:
            raise refuse(ENOTSUP)
        self.stdio -= {descriptor, to}
        return True

    def fd_fdstat_get(self, descriptor: int, out: int) -> bool:
        if descriptor < FIRST_DESCRIPTOR:
            return True
        place, guest = self._memory.slice(out, FDSTAT.size), self._table.get(descriptor)
        flags = 0 if guest.host.getblocking() else FLAG_NONBLOCK
        FDSTAT.pack_into(place, 0, FILE_TYPE[guest.kind], flags, RIGHTS_OF_A_SOCKET, RIGHTS_OF_A_SOCKET)
        return False

    def fd_fdstat_set_flags(self, descriptor: int, flags: int) -> bool:
        if descriptor < FIRST_DESCRIPTOR:
            return True
        self._table.get(descriptor).set_flags(flags)
        return False

    def poll_oneoff(self, subscriptions: int, events: int, count: int, count_out: int) -> bool:
        return poll_oneoff(
            self._memory,
            self._table,
            self.stdio,
            self._file_status,
            (subscriptions, events, count, count_out),
        )
