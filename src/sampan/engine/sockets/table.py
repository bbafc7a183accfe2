"""A guest's sockets and their descriptors.

The host's descriptors are finite and shared with the rest of the process, so a guest may not take all of them.
"""

from __future__ import annotations

import os
from _socket import (
    AF_INET,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_REUSEADDR,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    inet_ntop,
    inet_pton,
    socket,
)
from errno import EBADF, EMFILE
from heapq import heappop, heappush
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from select import POLLIN, poll

from sampan.engine.sockets.interface import FIRST_DESCRIPTOR, FLAG_NONBLOCK, refuse

KEPT_FOR_THE_HOST = 32
MOST_DESCRIPTORS = 65_536
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in IPv6's clothes begins so


class GuestSocket:
    """One of the guest's sockets: the host's behind it, and what the guest believes of it.

    Attributes:
        host: the host's socket. Its family may differ from `family`, the one that the guest asked for: a guest's
            IPv4 port can be published on an IPv6 address.
        others: more listening sockets behind the same guest port, when it is published more than once.
        local, peer: address and port as the guest named them, where the host's differ; else None.
        told_writable: how often the guest was told that it can write, since it last wrote.
        bound: protocol and guest port that it occupies among the guest's own; else None.
    """

    def __init__(self, host: socket, family: int) -> None:
        self.host = host
        self.family = family
        self.kind = host.type
        self.others: list[socket] = []
        self.local: tuple[bytes, int] | None = None
        self.peer: tuple[bytes, int] | None = None
        self.bound: tuple[int, int] | None = None
        self.told_writable = 0

    def hosts(self) -> list[socket]:
        return [self.host, *self.others]

    @staticmethod
    def open(family: int, kind: int) -> socket:
        """A host socket. Small packets leave at once: WasmEdge has no TCP_NODELAY that a guest could set, and
        without it a server that writes its answer in two parts waits 40 ms for the client's acknowledgement."""
        new = socket(family, kind, 0)
        if kind == SOCK_STREAM:
            new.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # accepted connections inherit it
        return new

    def sibling(self, family: int) -> socket:
        """Another host socket of this kind and these settings."""
        new = self.open(family, self.kind)
        new.setsockopt(SOL_SOCKET, SO_REUSEADDR, self.host.getsockopt(SOL_SOCKET, SO_REUSEADDR))
        new.setblocking(self.host.getblocking())
        if family != AF_INET and self.family == AF_INET:
            new.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        return new

    def become(self, family: int) -> None:
        """Take a host socket of another family, before it is bound or connected."""
        if self.host.family != family:
            old, self.host = self.host, self.sibling(family)
            old.close()

    def accept(self) -> GuestSocket:
        """The next connection, waiting for it if the guest asked for a blocking socket."""
        host = self._ready_listener() if self.others else self.host
        number, _ = host._accept()  # type: ignore[attr-defined]  # as `socket.socket.accept` does
        accepted = GuestSocket(socket(host.family, host.type, host.proto, number), self.family)
        if self.local is not None:
            address, _ = self.read_name(accepted.host.getsockname())
            accepted.local = address, self.local[1]
        return accepted

    def _ready_listener(self) -> socket:
        listeners = {host.fileno(): host for host in self.hosts()}
        waiting = poll()
        for number in listeners:
            waiting.register(number, POLLIN)
        ready = waiting.poll(None if self.host.getblocking() else 0)
        return listeners[ready[0][0]] if ready else self.host

    def set_flags(self, flags: int) -> None:
        """Set the descriptor's flags, of which sockets have one: non-blocking."""
        for host in self.hosts():
            host.setblocking(not flags & FLAG_NONBLOCK)

    def name_of(self, address: bytes, port: int) -> tuple[str, int]:
        """The host's form of an address for this socket, once the families agree."""
        if self.host.family == AF_INET:
            return inet_ntop(AF_INET, address[-4:]), port
        return inet_ntop(self.host.family, address if len(address) == 16 else _MAPPED + address), port

    def read_name(self, name: tuple[str, int]) -> tuple[bytes, int]:
        """The guest's form of the host's address; an IPv6 address shows as 0.0.0.0 to an IPv4 guest."""
        address = inet_pton(self.host.family, name[0].partition("%")[0])
        if self.family == AF_INET and len(address) == 16:
            address = address[12:] if address.startswith(_MAPPED) else bytes(4)
        elif self.family != AF_INET and len(address) == 4:
            address = _MAPPED + address
        return address, name[1]

    def close(self) -> None:
        for host in self.hosts():
            host.close()


class Table:
    """The guest's descriptors from 1000 upwards, the lowest free one first."""

    def __init__(self) -> None:
        self._sockets: dict[int, GuestSocket] = {}
        self._free: list[int] = []
        limit, _ = getrlimit(RLIMIT_NOFILE)
        limit = MOST_DESCRIPTORS if limit == RLIM_INFINITY else min(limit, MOST_DESCRIPTORS)
        self._most = max(limit - _open_descriptors() - KEPT_FOR_THE_HOST, 0)

    def get(self, descriptor: int) -> GuestSocket:
        """
        Raises:
            OSError: EBADF, no socket has this descriptor.
        """
        found = self._sockets.get(descriptor)
        if found is None:
            raise refuse(EBADF)
        return found

    def check_room(self) -> None:
        """
        Raises:
            OSError: EMFILE, the guest has as many as it may have.
        """
        if len(self._sockets) >= self._most:
            raise refuse(EMFILE)

    def add(self, new: GuestSocket) -> int:
        """The descriptor of a new socket; call `check_room` before making it."""
        descriptor = heappop(self._free) if self._free else FIRST_DESCRIPTOR + len(self._sockets)
        self._sockets[descriptor] = new
        return descriptor

    def remove(self, descriptor: int) -> GuestSocket:
        """
        Raises:
            OSError: EBADF, no socket has this descriptor.
        """
        found = self.get(descriptor)
        del self._sockets[descriptor]
        heappush(self._free, descriptor)
        return found

    def close(self) -> None:
        """Close every socket that the guest left open."""
        for left in self._sockets.values():
            left.close()
        self._sockets.clear()
        self._free.clear()


def _open_descriptors() -> int:
    """About how many there are now: the kernel gives the lowest number that is free."""
    lowest = os.dup(2)
    os.close(lowest)
    return lowest
