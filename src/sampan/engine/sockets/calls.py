"""WasmEdge's `sock_*` functions: what each does, given the guest's numbers.

Every method has the guest's parameters in their order and raises OSError for a refusal; a success is 0. Results
are written to the places that the guest names, and those are checked before anything happens. Where the two
generations differ in parameters, the method takes both (`*rest`). Addresses are 4 or 16 bytes in network order, or
128: the family first (see `read_address`). Ports are numbers, in `sock_recv_from` too.
"""

from __future__ import annotations

from _socket import (
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_BINDTODEVICE,
    SO_ERROR,
    SO_TYPE,
    SOCK_STREAM,
    SOL_SOCKET,
    SOMAXCONN,
)
from errno import EAFNOSUPPORT, EINVAL, ENOMEM, ENOSYS, EPERM

from sampan.engine.sockets import names
from sampan.engine.sockets.interface import (
    ADDRESS_SIZE,
    ADDRESS_STORAGE_SIZE,
    FAMILIES,
    FAMILY_NUMBER,
    FAMILY_UNIX,
    FLAG_NONBLOCK,
    OLD_FAMILY_NUMBER,
    OPTIONS,
    RECV_PEEK,
    RECV_TRUNCATED,
    RECV_WAITALL,
    TYPE_NUMBER,
    TYPES,
    U16,
    U32,
    VECTOR,
    WASI_ERRNO,
    refuse,
)
from sampan.engine.sockets.table import GuestSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine.sockets.memory import GuestMemory
    from sampan.engine.sockets.routes import Routes
    from sampan.engine.sockets.table import Table

_SHUTDOWN = {1: SHUT_RD, 2: SHUT_WR, 3: SHUT_RDWR}
_MOST_OPTION_BYTES = 1024


class Calls:
    """The functions, for one run's memory, descriptors and addresses."""

    def __init__(self, memory: GuestMemory, table: Table, routes: Routes) -> None:
        self.memory = memory
        self.table = table
        self.routes = routes

    def sock_open(self, family: int, kind: int, out: int) -> None:
        self.routes.check_granted()
        if family == FAMILY_UNIX:
            raise refuse(ENOSYS)
        if family not in FAMILIES or kind not in TYPES:
            raise refuse(EINVAL)
        place = self.memory.slice(out, 4)
        self.table.check_room()
        host = GuestSocket.open(FAMILIES[family], TYPES[kind])
        U32.pack_into(place, 0, self.table.add(GuestSocket(host, FAMILIES[family])))

    def sock_bind(self, descriptor: int, address: int, port: int) -> None:
        self.routes.bind(self.table.get(descriptor), self.read_address(address), _port(port))

    def sock_listen(self, descriptor: int, backlog: int) -> None:
        for host in self.table.get(descriptor).hosts():
            host.listen(min(backlog, SOMAXCONN))

    def sock_accept(self, descriptor: int, *rest: int) -> None:
        flags, out = rest if len(rest) == 2 else (0, *rest)
        if flags & ~FLAG_NONBLOCK:
            raise refuse(EINVAL)
        place = self.memory.slice(out, 4)
        listener = self.table.get(descriptor)
        self.table.check_room()
        accepted = listener.accept()
        accepted.set_flags(flags)
        U32.pack_into(place, 0, self.table.add(accepted))

    def sock_connect(self, descriptor: int, address: int, port: int) -> None:
        guest, packed = self.table.get(descriptor), self.read_address(address)
        name = self.routes.target(guest, packed, _port(port))
        guest.peer = packed, port
        guest.host.connect(name)

    def sock_recv(self, fd: int, vectors: int, count: int, flags: int, size_out: int, flags_out: int) -> None:
        self._receive(fd, vectors, count, flags, size_out, flags_out)

    def sock_recv_from(self, fd: int, vectors: int, count: int, address: int, flags: int, *rest: int) -> None:
        size_out, flags_out = rest[-2:]
        storage = self._address_buffer(address)
        port_place = self.memory.slice(rest[0], 2) if len(rest) == 3 else None
        name = self._receive(fd, vectors, count, flags, size_out, flags_out)
        if not name:
            return
        packed, port = self.table.get(fd).read_name(name)
        _write_address(storage, self.table.get(fd).family, packed)
        if port_place is not None:
            U16.pack_into(port_place, 0, port)

    def _receive(
        self, fd: int, vectors: int, count: int, flags: int, size_out: int, flags_out: int
    ) -> tuple[str, int] | None:
        """Receive into the guest's buffers; gives the sender's address where the kernel says it."""
        if flags & ~(RECV_PEEK | RECV_WAITALL):
            raise refuse(EINVAL)
        size_place, flags_place = self.memory.slice(size_out, 4), self.memory.slice(flags_out, 2)
        guest, buffers = self.table.get(fd), self.memory.vectors(vectors, count)
        how = (MSG_PEEK if flags & RECV_PEEK else 0) | (MSG_WAITALL if flags & RECV_WAITALL else 0)
        name, told = None, 0
        if len(buffers) == 1 and guest.kind == SOCK_STREAM:
            size = guest.host.recv_into(buffers[0], 0, how)
        else:
            size, _, told, name = guest.host.recvmsg_into(buffers, 0, how)
        U32.pack_into(size_place, 0, size)
        U16.pack_into(flags_place, 0, RECV_TRUNCATED if told & MSG_TRUNC else 0)
        return name

    def sock_send(self, fd: int, vectors: int, count: int, flags: int, size_out: int) -> None:
        if flags:
            raise refuse(EINVAL)
        place = self.memory.slice(size_out, 4)
        guest, buffers = self.table.get(fd), self.memory.vectors(vectors, count)
        guest.told_writable = 0
        if len(buffers) == 1:
            size = guest.host.send(buffers[0], MSG_NOSIGNAL)
        else:
            size = guest.host.sendmsg(buffers, (), MSG_NOSIGNAL)
        U32.pack_into(place, 0, size)

    def sock_send_to(
        self, fd: int, vectors: int, count: int, address: int, port: int, flags: int, size_out: int
    ) -> None:
        if flags:
            raise refuse(EINVAL)
        place = self.memory.slice(size_out, 4)
        guest, buffers = self.table.get(fd), self.memory.vectors(vectors, count)
        name = self.routes.target(guest, self.read_address(address), _port(port))
        guest.told_writable = 0
        U32.pack_into(place, 0, guest.host.sendmsg(buffers, (), MSG_NOSIGNAL, name))

    def sock_shutdown(self, descriptor: int, how: int) -> None:
        if how not in _SHUTDOWN:
            raise refuse(EINVAL)
        self.table.get(descriptor).host.shutdown(_SHUTDOWN[how])

    def sock_setsockopt(self, descriptor: int, level: int, name: int, value: int, size: int) -> None:
        guest, option = self.table.get(descriptor), self._option(level, name)
        if size > _MOST_OPTION_BYTES:
            raise refuse(EINVAL)
        if option == SO_BINDTODEVICE:
            raise refuse(EPERM)  # a name of the host's interfaces is nothing that a guest is told
        guest.host.setsockopt(SOL_SOCKET, option, bytes(self.memory.slice(value, size)))

    def sock_getsockopt(self, descriptor: int, level: int, name: int, value: int, size_at: int) -> None:
        guest, option = self.table.get(descriptor), self._option(level, name)
        if option == SO_BINDTODEVICE:
            raise refuse(EPERM)
        size = self.memory.u32(size_at)
        place = self.memory.slice(value, size)
        data = guest.host.getsockopt(SOL_SOCKET, option, max(1, min(size, _MOST_OPTION_BYTES)))[:size]
        if option in (SO_ERROR, SO_TYPE) and len(data) == 4:
            number = U32.unpack(data)[0]
            data = U32.pack((WASI_ERRNO if option == SO_ERROR else TYPE_NUMBER).get(number, number))
        place[: len(data)] = data
        self.memory.put_u32(size_at, len(data))

    def _option(self, level: int, name: int) -> int:
        if level or name not in OPTIONS:
            raise refuse(EINVAL)
        return OPTIONS[name]

    def sock_getlocaladdr(self, descriptor: int, address: int, *rest: int) -> None:
        guest = self.table.get(descriptor)
        self._tell_name(guest, guest.local or guest.read_name(guest.host.getsockname()), address, rest)

    def sock_getpeeraddr(self, descriptor: int, address: int, *rest: int) -> None:
        guest = self.table.get(descriptor)
        name = guest.read_name(guest.host.getpeername())  # also for its error: not connected
        self._tell_name(guest, guest.peer or name, address, rest)

    def _tell_name(
        self, guest: GuestSocket, name: tuple[bytes, int], address: int, rest: tuple[int, ...]
    ) -> None:
        storage = self._address_buffer(address)
        port_place = self.memory.slice(rest[-1], 4)
        if len(rest) == 2:
            self.memory.put_u32(rest[0], OLD_FAMILY_NUMBER[guest.family])
        _write_address(storage, guest.family, name[0])
        U32.pack_into(port_place, 0, name[1])

    def sock_getaddrinfo(
        self,
        node: int,
        node_size: int,
        service: int,
        service_size: int,
        hints: int,
        results: int,
        most: int,
        count_out: int,
    ) -> None:
        self.routes.check_granted()
        asked = names.read_question(self.memory, node, node_size, service, service_size, hints)
        names.write_answers(self.memory, names.look_up(asked), self.memory.u32(results), most, count_out)

    def read_address(self, place: int) -> bytes:
        """The address that the guest means, 4 or 16 bytes.

        Raises:
            OSError: EINVAL for a buffer of another size, EAFNOSUPPORT for another family, EFAULT.
        """
        storage = self._address_buffer(place)
        if len(storage) != ADDRESS_STORAGE_SIZE:
            return bytes(storage)
        family = FAMILIES.get(U16.unpack_from(storage)[0])
        if family is None:
            raise refuse(EAFNOSUPPORT)
        return bytes(storage[2 : 2 + ADDRESS_SIZE[family]])

    def _address_buffer(self, place: int) -> memoryview:
        start, size = VECTOR.unpack(self.memory.slice(place, VECTOR.size))
        if size not in (*ADDRESS_SIZE.values(), ADDRESS_STORAGE_SIZE):
            raise refuse(EINVAL)
        return self.memory.slice(start, size)


def _write_address(storage: memoryview, family: int, packed: bytes) -> None:
    """Fill the guest's buffer; ENOMEM when the address is longer."""
    if len(storage) == ADDRESS_STORAGE_SIZE:
        U16.pack_into(storage, 0, FAMILY_NUMBER[family])
        storage = storage[2:]
    if len(packed) > len(storage):
        raise refuse(ENOMEM)
    storage[: len(packed)] = packed


def _port(number: int) -> int:
    if number > 0xFFFF:
        raise refuse(EINVAL)
    return number
