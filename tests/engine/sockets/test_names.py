"""Names to addresses, in WasmEdge's list of structures."""

from __future__ import annotations

from struct import pack, unpack

from .conftest import INET4, INET6, LOOPBACK, STREAM, Bench

AI_BADFLAGS, AI_FAMILY, AI_MEMORY, AI_NONAME, AI_SERVICE, AI_SOCKTYPE, EFAULT = 79, 81, 82, 84, 85, 86, 21
NUMERIC_HOST, CANONICAL = 4, 2


class Results:
    """The guest's list, with room for addresses and names."""

    def __init__(self, world: Bench, count: int, name_room: int = 0) -> None:
        self.world = world
        self.places: list[int] = []
        following = 0
        for _ in range(count):
            address = world.put(pack("<B3xII", 0, 14, world.put(26)))
            item = pack("<HBBB3xIIIII", 0, 0, 0, 0, 0, address, world.put(64), name_room, following)
            following = world.put(item)
            self.places.insert(0, following)
        self.first, self.count = world.put(pack("<I", following)), world.put(4)

    def ask(self, node: bytes, service: bytes = b"80\0", *, flags: int = 0, family: int = INET4, kind: int = STREAM,
            protocol: int = 1) -> int:  # fmt: skip
        world = self.world
        hints = world.put(pack("<HBBB3xIIIII", flags, family, kind, protocol, 0, 0, 0, 0, 0))
        node_at, service_at = world.put(node), world.put(service)
        numbers = (
            node_at,
            len(node),
            service_at,
            len(service),
            hints,
            self.first,
            len(self.places),
            self.count,
        )
        return world.call("sock_getaddrinfo", *numbers)

    def read(self) -> list[tuple[int, int, int, int, bytes, bytes]]:
        """Family, type, protocol, port, address and canonical name of each."""
        found = []
        for place in self.places[: self.world.u32(self.count)]:
            _, family, kind, protocol, _, address, name, size, _ = unpack(
                "<HBBB3xIIIII", self.world.get(place, 28)
            )
            inner, length, data_at = unpack("<B3xII", self.world.get(address, 12))
            assert inner == family
            data = self.world.get(data_at, length)
            packed = data[2:6] if family == INET4 else data[6:22]
            found.append(
                (family, kind, protocol, unpack(">H", data[:2])[0], packed, self.world.get(name, size))
            )
        return found


def test_a_name_gives_addresses(bench) -> None:
    results = Results(bench(), 4)
    assert results.ask(b"localhost\0") == 0
    assert (INET4, STREAM, 1, 80, LOOPBACK, b"") in results.read()


def test_both_families_are_given(bench) -> None:
    results = Results(bench(), 2)
    assert results.ask(b"2001:db8::7", flags=NUMERIC_HOST, family=0) == 0
    assert results.read() == [(INET6, STREAM, 1, 80, bytes.fromhex("20010db8000000000000000000000007"), b"")]


def test_no_more_answers_than_there_is_room_for(bench) -> None:
    results = Results(bench(), 1)
    assert results.ask(b"127.0.0.1", kind=0, protocol=0) == 0
    assert len(results.read()) == 1


def test_a_canonical_name_is_given_only_where_it_fits(bench) -> None:
    for room, name in ((10, b"127.0.0.1"), (9, b"")):
        results = Results(bench(), 1, room)
        assert results.ask(b"127.0.0.1", flags=CANONICAL | NUMERIC_HOST) == 0
        assert results.read()[0][5] == name


def test_what_cannot_be_asked_is_an_errno(bench) -> None:
    results = Results(bench(), 1)
    assert results.ask(b"not a number", flags=NUMERIC_HOST) == AI_NONAME
    assert results.ask(b"", b"") == AI_NONAME
    assert results.ask(b"x" * 2000) == AI_NONAME
    assert results.ask(b"127.0.0.1", b"9" * 64) == AI_SERVICE
    assert results.ask(b"127.0.0.1", flags=128) == AI_BADFLAGS
    assert results.ask(b"127.0.0.1", family=9) == AI_FAMILY
    assert results.ask(b"127.0.0.1", kind=9) == AI_SOCKTYPE
    results.places = []
    assert results.ask(b"127.0.0.1") == AI_MEMORY


def test_W22_a_result_that_points_outside_is_an_errno(bench) -> None:
    world: Bench = bench()
    results = Results(world, 1)
    place = results.places[0] + 12
    world.memory.view[place : place + 4] = pack("<I", 0xFFFFFFF0)
    assert results.ask(b"127.0.0.1") == EFAULT
