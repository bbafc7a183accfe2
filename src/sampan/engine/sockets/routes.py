"""Where a guest's addresses lead: what a network grant means for each bind and connect.

- `none`: nowhere; not even a socket can be had.
- `host`: where they say, as for any process.
- `published`: as behind a bridge. Binding a published port binds the host's address and port of its mapping, and
  any other port a free one of the host's loopback, which nobody is told. The guest sees what it asked for.
  Connecting goes out to everywhere except the host's own loopback: loopback is the guest's own ports.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, SOCK_STREAM, inet_ntop
from errno import EACCES, EADDRINUSE, EAFNOSUPPORT, ECONNREFUSED, ENOTSUP

from sampan.engine.sockets.interface import ADDRESS_SIZE, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine.grants import Network, OnBind, PortMap
    from sampan.engine.sockets.table import GuestSocket

ANY = {AF_INET: "0.0.0.0", AF_INET6: "::"}  # noqa: S104 - what the user published is for everybody
LOOPBACK = {AF_INET: bytes([127, 0, 0, 1]), AF_INET6: bytes(15) + b"\1"}


class Routes:
    """The addresses of one run.

    Args:
        on_bind: called with the mapping and the host's port whenever a published port is bound.
    """

    def __init__(self, network: Network, on_bind: OnBind | None) -> None:
        self._network = network
        self._on_bind = on_bind
        self._bound: dict[tuple[int, int], GuestSocket] = {}

    def check_granted(self) -> None:
        """
        Raises:
            OSError: EACCES, there is no network for this guest.
        """
        if self._network.mode not in ("host", "published"):
            raise refuse(EACCES)

    def bind(self, guest: GuestSocket, address: bytes, port: int) -> None:
        """Bind a guest's socket to its address, or to what stands for it.

        Raises:
            OSError: as bind(2).
        """
        _check_family(guest, address)
        if self._network.mode == "host":
            guest.host.bind(guest.name_of(address, port))
            return
        if (guest.kind, port) in self._bound:
            raise refuse(EADDRINUSE)
        maps = self._maps(guest.kind, port)
        if maps:
            self._publish(guest, maps)
        else:
            guest.host.bind(guest.name_of(LOOPBACK[guest.family], 0))
        guest.local = address, port or guest.host.getsockname()[1]
        guest.bound = guest.kind, guest.local[1]
        self._bound[guest.bound] = guest

    def _maps(self, kind: int, port: int) -> list[PortMap]:
        protocol = "tcp" if kind == SOCK_STREAM else "udp"
        return [m for m in self._network.ports if (m.guest_port, m.protocol) == (port, protocol)]

    def _publish(self, guest: GuestSocket, maps: list[PortMap]) -> None:
        """Bind a host socket for each mapping; all or none."""
        if len(maps) > 1 and guest.kind != SOCK_STREAM:
            raise refuse(ENOTSUP)  # an answer would not know which port to leave from
        guest.become(_family(maps[0], guest))
        others = [guest.sibling(_family(m, guest)) for m in maps[1:]]
        try:
            for host, mapping in zip([guest.host, *others], maps):
                host.bind((mapping.host_address or ANY[host.family], mapping.host_port))
        except OSError:
            for other in others:
                other.close()
            raise
        guest.others = others
        for host, mapping in zip(guest.hosts(), maps):
            if self._on_bind:
                self._on_bind(mapping, host.getsockname()[1])

    def target(self, guest: GuestSocket, address: bytes, port: int) -> tuple[str, int]:
        """The host's address to connect or send to.

        Raises:
            OSError: EAFNOSUPPORT for another family than the socket's; ECONNREFUSED for a loopback port that
                is not the guest's own.
        """
        _check_family(guest, address)
        if self._network.mode == "host" or not _is_own(address):
            return guest.name_of(address, port)
        listener = self._bound.get((guest.kind, port))
        if listener is None:
            raise refuse(ECONNREFUSED)
        own, own_port = listener.host.getsockname()[:2]
        if guest.host.family != listener.host.family:
            if guest.bound is not None:
                raise refuse(ECONNREFUSED)
            guest.become(listener.host.family)
        if own == ANY[listener.host.family]:
            own = inet_ntop(listener.host.family, LOOPBACK[listener.host.family])
        return own, own_port

    def release(self, guest: GuestSocket) -> None:
        """Forget a socket that is closed."""
        if guest.bound is not None:
            self._bound.pop(guest.bound, None)


def _family(mapping: PortMap, guest: GuestSocket) -> int:
    if not mapping.host_address:
        return guest.family
    return AF_INET6 if ":" in mapping.host_address else AF_INET


def _check_family(guest: GuestSocket, address: bytes) -> None:
    if len(address) != ADDRESS_SIZE[guest.family]:
        raise refuse(EAFNOSUPPORT)


def _is_own(address: bytes) -> bool:
    """Whether an address means the machine that connects: loopback, or none at all."""
    if len(address) == 16:
        if address in (LOOPBACK[AF_INET6], bytes(16)):
            return True
        if not address.startswith((bytes(10) + b"\xff\xff", bytes(12))):
            return False
    return address[-4] == 127 or address[-4:] == bytes(4)
