"""`sock_getaddrinfo`: names to addresses, by the host's resolver.

WasmEdge's shape: the guest makes a list of result structures, each with room for an address and a name, and
gets the first of them filled. A result is: flags u16, family u8, type u8, protocol u8, address length u32, pointer
to the address (family u8, size u32, pointer to its bytes), pointer to the canonical name and its size, next. The
address's bytes are the host's `sockaddr` after its family: 14, or 26 of IPv6, as in WasmEdge whatever size the
guest has put there. A canonical name is only given when the guest's room for it is enough.
"""

from __future__ import annotations

from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    AI_ADDRCONFIG,
    AI_ALL,
    AI_CANONNAME,
    AI_NUMERICHOST,
    AI_NUMERICSERV,
    AI_PASSIVE,
    AI_V4MAPPED,
    EAI_BADFLAGS,
    EAI_FAIL,
    EAI_FAMILY,
    EAI_MEMORY,
    EAI_NONAME,
    EAI_SERVICE,
    EAI_SOCKTYPE,
    IPPROTO_TCP,
    IPPROTO_UDP,
    gaierror,
    getaddrinfo,
    inet_pton,
)
from struct import pack

from sampan.engine.sockets.interface import (
    ADDRESS_INFO,
    FAMILIES,
    FAMILY_NUMBER,
    SOCKET_ADDRESS,
    TYPE_NUMBER,
    TYPES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.engine.sockets.memory import GuestMemory

    Question = tuple[bytes | None, bytes | None, int, int, int, int]
    Answer = tuple[int, int, int, str, tuple[Any, ...]]

LONGEST_NAME, LONGEST_SERVICE = 1025, 32  # NI_MAXHOST, NI_MAXSERV
_FLAGS = (
    AI_PASSIVE,
    AI_CANONNAME,
    AI_NUMERICHOST,
    AI_NUMERICSERV,
    AI_V4MAPPED,
    AI_ALL,
    AI_ADDRCONFIG,
)
_PROTOCOLS = {0: 0, 1: IPPROTO_TCP, 2: IPPROTO_UDP}
_PROTOCOL_NUMBER = {host: guest for guest, host in _PROTOCOLS.items()}


def read_question(
    memory: GuestMemory, node: int, node_size: int, service: int, service_size: int, hints: int
) -> Question:
    """What the guest asks: node, service, family, type, protocol and flags, in the host's numbers.

    Raises:
        OSError: EFAULT; gaierror for what cannot be asked.
    """
    flags, family, kind, protocol, *_ = ADDRESS_INFO.unpack(memory.slice(hints, ADDRESS_INFO.size))
    if flags >> len(_FLAGS):
        raise gaierror(EAI_BADFLAGS, "")
    if family and family not in FAMILIES:
        raise gaierror(EAI_FAMILY, "")
    if (kind and kind not in TYPES) or protocol not in _PROTOCOLS:
        raise gaierror(EAI_SOCKTYPE, "")
    if node_size > LONGEST_NAME:
        raise gaierror(EAI_NONAME, "")
    if service_size > LONGEST_SERVICE:
        raise gaierror(EAI_SERVICE, "")
    return (
        _text(memory.slice(node, node_size)),
        _text(memory.slice(service, service_size)),
        FAMILIES.get(family, AF_UNSPEC),
        TYPES.get(kind, 0),
        _PROTOCOLS[protocol],
        sum(flag for bit, flag in enumerate(_FLAGS) if flags >> bit & 1),
    )


def _text(data: memoryview) -> bytes | None:
    return bytes(data).partition(b"\0")[0] or None


def look_up(question: Question) -> list[Answer]:
    """The resolver's answers of the two families that guests know.

    Raises:
        gaierror: it has none, or a name server gave a name that is no text.
    """
    try:
        found = getaddrinfo(*question)
    except UnicodeError as error:
        raise gaierror(EAI_FAIL, "") from error
    return [answer for answer in found if answer[0] in FAMILY_NUMBER]


def write_answers(memory: GuestMemory, answers: list[Answer], first: int, most: int, count_out: int) -> None:
    """Fill the guest's list of results, from `first` on, and say how many there are.

    Raises:
        OSError: EFAULT; gaierror for a list without room.
    """
    if most < 1:
        raise gaierror(EAI_MEMORY, "")
    count_place = memory.slice(count_out, 4)
    place = first
    for answer in answers[:most]:
        place = _write_answer(memory, place, answer)
    count_place[:] = pack("<I", min(len(answers), most))


def _write_answer(memory: GuestMemory, place: int, answer: Answer) -> int:
    """Fill one result; the place of the next one."""
    family, kind, protocol, canonical, name = answer
    result = memory.slice(place, ADDRESS_INFO.size)
    *_, address_place, name_place, name_room, following = ADDRESS_INFO.unpack(result)
    address = memory.slice(address_place, SOCKET_ADDRESS.size)
    _, _, data_place = SOCKET_ADDRESS.unpack(address)
    data = _after_family(family, name)
    memory.slice(data_place, len(data))[:] = data
    SOCKET_ADDRESS.pack_into(address, 0, FAMILY_NUMBER[family], len(data), data_place)
    text = canonical.encode() + b"\0"
    size = len(text) - 1 if 1 < len(text) <= name_room else 0
    if size:
        memory.slice(name_place, len(text))[:] = text
    ADDRESS_INFO.pack_into(
        result,
        0,
        0,
        FAMILY_NUMBER[family],
        TYPE_NUMBER.get(kind, 0),
        _PROTOCOL_NUMBER.get(protocol, 0),
        len(data) + 2,
        address_place,
        name_place,
        size,
        following,
    )
    return int(following)


def _after_family(family: int, name: tuple[Any, ...]) -> bytes:
    """The host's `sockaddr_in` or `sockaddr_in6` without its family."""
    packed = inet_pton(family, name[0].partition("%")[0])
    if family == AF_INET:
        return pack(">H", name[1]) + packed + bytes(8)
    assert family == AF_INET6
    return pack(">HI", name[1], name[2]) + packed + pack("<I", name[3])
