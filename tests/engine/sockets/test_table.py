"""Descriptors and the sockets behind them."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, SOCK_STREAM
from collections.abc import Iterator
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

import pytest

from sampan.engine.sockets.table import KEPT_FOR_THE_HOST, GuestSocket, Table

from .conftest import INET4, STREAM, Bench


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    soft, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (256, hard))
    yield 256
    setrlimit(RLIMIT_NOFILE, (soft, hard))


def test_descriptors_begin_at_1000_and_the_lowest_free_one_is_given(bench) -> None:
    world: Bench = bench()
    fds = [world.open() for _ in range(4)]
    assert fds == [1000, 1001, 1002, 1003]
    for fd in (1002, 1000):
        assert world.call("fd_close", fd) == 0
    assert [world.open() for _ in range(3)] == [1000, 1002, 1004]


def test_W17_a_guest_that_opens_until_it_is_refused_leaves_the_host_descriptors(
    few_descriptors: int, bench
) -> None:
    world: Bench = bench()
    out = world.put(4)
    opened = 0
    while (error := world.call("sock_open", INET4, STREAM, out)) == 0:
        opened += 1
    assert error == 33  # EMFILE
    assert 0 < opened <= few_descriptors - KEPT_FOR_THE_HOST
    with open("/dev/null"):  # the host can still open files
        pass
    assert world.call("fd_close", 1000) == 0
    assert world.open() == 1000


def test_W17_a_full_table_leaves_connections_in_the_queue(few_descriptors: int, bench) -> None:
    world: Bench = bench()
    world.table._most = 3
    listener, port = world.listen()
    client, third = world.open(), world.open()
    assert world.connect(client, bytes([127, 0, 0, 1]), port) == 0
    assert world.call("sock_accept", listener, world.put(4)) == 33
    assert world.call("fd_close", third) == 0
    assert world.send(world.accept(listener), b"still there") == 11


@pytest.mark.parametrize(
    ("asked", "behind", "name", "shown"),
    [
        (AF_INET, AF_INET, "10.1.2.3", bytes([10, 1, 2, 3])),
        (AF_INET, AF_INET6, "::ffff:10.1.2.3", bytes([10, 1, 2, 3])),
        (AF_INET, AF_INET6, "2001:db8::1", bytes(4)),
        (AF_INET6, AF_INET, "10.1.2.3", bytes(10) + b"\xff\xff\x0a\1\2\3"),
        (AF_INET6, AF_INET6, "fe80::1%lo", b"\xfe\x80" + bytes(13) + b"\1"),
    ],
)
def test_a_guest_sees_addresses_of_its_own_family(asked: int, behind: int, name: str, shown: bytes) -> None:
    guest = GuestSocket(GuestSocket.open(behind, SOCK_STREAM), asked)
    assert guest.read_name((name, 5)) == (shown, 5)
    guest.close()


def test_closing_the_table_closes_what_was_left_open() -> None:
    table = Table()
    guest = GuestSocket(GuestSocket.open(AF_INET, SOCK_STREAM), AF_INET)
    table.add(guest)
    table.close()
    assert guest.host.fileno() == -1
