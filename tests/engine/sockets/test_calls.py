"""WasmEdge's functions, called with a guest's numbers: both generations, every refusal."""

from __future__ import annotations

import socket
from _socket import SOCK_DGRAM
from struct import pack, unpack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.engine.grants import Network
from sampan.engine.sockets.interface import SHARED_FUNCTIONS, SOCKET_FUNCTIONS

from .conftest import ANY, DATAGRAM, INET4, INET6, LOOPBACK, LOOPBACK6, SIZE, STREAM, UNIX, Bench

EAFNOSUPPORT, EAGAIN, EBADF, ECONNREFUSED, EFAULT, EINPROGRESS, EINVAL = 5, 6, 8, 14, 21, 26, 28
ENOMEM, ENOSYS, ENOTCONN, EPERM, EPIPE = 48, 52, 53, 63, 64
REUSEADDR, TYPE, ERROR, SNDBUF, RCVTIMEO, ACCEPTCONN, BINDTODEVICE = 0, 1, 2, 5, 11, 13, 14
NONBLOCK, PEEK, WAITALL = 4, 1, 2


def test_a_stream_carries_bytes_both_ways(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    assert world.send(client, b"one ", b"two") == 7
    assert world.receive(server, flags=PEEK) == b"one two"
    assert world.receive(server, room=3, flags=WAITALL) == b"one"
    assert world.receive(server) == b" two"
    world.send(server, b"back")
    assert world.receive(client) == b"back"
    assert world.call("sock_shutdown", client, 2) == 0
    assert world.receive(server) == b""  # the end, and no error


def test_bytes_are_scattered_over_vectors(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    world.send(client, b"abcdefgh")
    array, count = world.vectors(3, 0, 16)
    size, told = world.put(4), world.put(4)
    assert world.call("sock_recv", server, array, count, 0, size, told) == 0
    assert (world.u32(size), world.vector_data(array, 0), world.vector_data(array, 2)[:5]) == (
        8,
        b"abc",
        b"defgh",
    )


@pytest.mark.parametrize("form", ["4 bytes", "16 bytes", "128 bytes"])
def test_an_address_can_be_written_in_each_generations_way(bench, form: str) -> None:
    world: Bench = bench()
    family = INET6 if form == "16 bytes" else INET4
    packed = LOOPBACK6 if family == INET6 else LOOPBACK
    written = pack("<H", family) + packed + bytes(126 - len(packed)) if form == "128 bytes" else packed
    listener, client = world.open(family), world.open(family)
    assert world.bind(listener, written) == 0
    assert world.call("sock_listen", listener, 1) == 0
    shown, port = world.local(listener)
    assert shown == packed
    assert world.connect(client, written, port) == 0
    assert world.local(client, "sock_getpeeraddr") == (packed, port)


def test_the_older_name_functions_give_4_or_6_as_type(bench) -> None:
    world: Bench = bench()
    for family, packed, kind in ((INET4, LOOPBACK, 4), (INET6, LOOPBACK6, 6)):
        fd, port = world.listen(packed, 0, family)
        place, kind_out, port_out = world.put(len(packed)), world.put(4), world.put(4)
        address = world.put(pack("<II", place, len(packed)))
        assert world.call("sock_getlocaladdr", fd, address, kind_out, port_out) == 0
        assert (world.get(place, len(packed)), world.u32(kind_out), world.u32(port_out)) == (
            packed,
            kind,
            port,
        )


def test_an_address_that_does_not_fit_is_refused(bench) -> None:
    world: Bench = bench()
    fd, _ = world.listen(LOOPBACK6, 0, INET6)
    assert world.call("sock_getlocaladdr", fd, world.address(4), world.put(4), world.put(4)) == ENOMEM
    assert world.call("sock_getlocaladdr", fd, world.address(5), world.put(4), world.put(4)) == EINVAL
    assert world.bind(world.open(), bytes(5)) == EINVAL
    assert world.bind(world.open(), pack("<H", 77) + bytes(126)) == EAFNOSUPPORT


def test_datagrams_carry_their_senders_address_in_both_generations(bench) -> None:
    world: Bench = bench()
    one, two = world.open(kind=DATAGRAM), world.open(kind=DATAGRAM)
    assert world.bind(one, LOOPBACK) == world.bind(two, LOOPBACK) == 0
    sent, port = world.put(4), world.local(two)[1]
    for _ in range(2):
        vectors = world.vectors(b"da", b"ta")
        assert world.call("sock_send_to", one, *vectors, world.address(LOOPBACK), port, 0, sent) == 0
        assert world.u32(sent) == 4
    array, count = world.vectors(16)
    size, told, storage, port_out = world.put(4), world.put(4), world.put(128), world.put(4)
    address = world.put(pack("<II", storage, 128))
    assert world.call("sock_recv_from", two, array, count, address, 0, port_out, size, told) == 0
    assert world.get(storage, 6) == pack("<H", INET4) + LOOPBACK
    assert world.u32(port_out) == world.local(one)[1]
    assert world.vector_data(array)[:4] == b"data"
    short = world.put(4)
    array, count = world.vectors(1)
    assert (
        world.call("sock_recv_from", two, array, count, world.put(pack("<II", short, 4)), 0, size, told) == 0
    )
    assert world.get(short, 4) == LOOPBACK
    assert (world.u32(size), world.u32(told)) == (1, 1)  # and the rest is lost, which is said


def test_nothing_to_do_on_a_non_blocking_socket_is_again(bench) -> None:
    world: Bench = bench()
    listener, port = world.listen()
    assert world.call("fd_fdstat_set_flags", listener, NONBLOCK) == 0
    assert world.call("sock_accept", listener, world.put(4)) == EAGAIN
    client = world.open()
    assert world.call("fd_fdstat_set_flags", client, NONBLOCK) == 0
    assert world.connect(client, LOOPBACK, port) in (0, EINPROGRESS)
    accepted = world.put(4)
    assert world.call("fd_fdstat_set_flags", listener, 0) == 0
    assert world.call("sock_accept", listener, NONBLOCK, accepted) == 0  # the form with three parameters
    array, count = world.vectors(8)
    assert world.call("sock_recv", world.u32(accepted), array, count, 0, world.put(4), world.put(4)) == EAGAIN
    out = world.put(4)
    vectors, full = world.vectors(60_000), 0
    while (error := world.call("sock_send", client, *vectors, 0, out)) == 0 and full < 10_000:
        full += 1
    assert error == EAGAIN


def test_options_are_set_and_read(bench) -> None:
    world: Bench = bench()
    fd, _ = world.listen()
    value, size = world.put(4), world.put(pack("<I", 4))

    def read(name: int) -> int:
        assert world.call("sock_getsockopt", fd, 0, name, value, size) == 0
        assert world.u32(size) == 4
        return world.u32(value)

    assert read(REUSEADDR) == 0
    assert world.call("sock_setsockopt", fd, 0, REUSEADDR, world.put(pack("<I", 1)), 4) == 0
    assert (read(REUSEADDR), read(TYPE), read(ACCEPTCONN), read(ERROR)) == (1, STREAM, 1, 0)
    assert world.call("sock_setsockopt", fd, 0, SNDBUF, world.put(pack("<I", 50_000)), 4) == 0
    assert read(SNDBUF) >= 50_000


def test_a_failed_connection_is_told_by_the_error_option_in_wasis_numbers(bench) -> None:
    world: Bench = bench()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fd = world.open()
    assert world.call("fd_fdstat_set_flags", fd, NONBLOCK) == 0
    error = world.connect(fd, LOOPBACK, port)
    if error == EINPROGRESS:
        value, size = world.put(4), world.put(pack("<I", 4))
        assert world.call("sock_getsockopt", fd, 0, ERROR, value, size) == 0
        error = world.u32(value)
    assert error == ECONNREFUSED


def test_a_receive_timeout_ends_a_blocking_receive(bench) -> None:
    world: Bench = bench()
    client, _ = world.pair()
    assert world.call("sock_setsockopt", client, 0, RCVTIMEO, world.put(pack("<qq", 0, 20_000)), 16) == 0
    array, count = world.vectors(8)
    assert world.call("sock_recv", client, array, count, 0, world.put(4), world.put(4)) == EAGAIN


@pytest.mark.parametrize(
    ("name", "numbers", "error"),
    [
        ("sock_open", (0, STREAM, 0), EINVAL),
        ("sock_open", (INET4, 0, 0), EINVAL),
        ("sock_open", (UNIX, STREAM, 0), ENOSYS),
        ("sock_open", (INET4, STREAM, SIZE - 3), EFAULT),
        ("sock_listen", (7, 1), EBADF),
        ("sock_accept", (1000, 1, 0), EINVAL),
        ("sock_recv", (1000, 0, 1, 4, 0, 0), EINVAL),
        ("sock_recv", (1000, 0, 1, 0, SIZE, 0), EFAULT),
        ("sock_recv", (1000, 0, 1, 0, 0, SIZE - 1), EFAULT),
        ("sock_send", (1000, 0, 1, 1, 0), EINVAL),
        ("sock_send", (1000, 0, 1025, 0, 0), EINVAL),
        ("sock_send", (1000, 0, 1, 0, 64), EPIPE),
        ("sock_send_to", (1000, 0, 1, 0, 70_000, 0, 0), EINVAL),
        ("sock_shutdown", (1000, 0), EINVAL),
        ("sock_shutdown", (1000, 3), ENOTCONN),
        ("sock_getpeeraddr", (1000, 0, 0), ENOTCONN),
        ("sock_getsockopt", (1000, 1, 0, 0, 0), EINVAL),
        ("sock_getsockopt", (1000, 0, 15, 0, 0), EINVAL),
        ("sock_setsockopt", (1000, 0, REUSEADDR, 0, 4096), EINVAL),
        ("sock_setsockopt", (1000, 0, BINDTODEVICE, 0, 2), EPERM),
    ],
)
def test_what_cannot_be_is_an_errno(bench, name: str, numbers: tuple[int, ...], error: int) -> None:
    world: Bench = bench()
    assert world.open() == 1000
    assert world.call(name, *numbers) == error


def test_a_failed_receive_loses_nothing(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    world.send(client, b"kept")
    array, count = world.vectors(8)
    assert world.call("sock_recv", server, array, count, 0, SIZE, 0) == EFAULT
    assert world.call("sock_recv", server, SIZE - 4, 1, 0, 0, 0) == EFAULT
    assert world.receive(server) == b"kept"


_NUMBERS = st.one_of(
    st.integers(0, 20),
    st.sampled_from([1000, 1001, 1002, SIZE - 4, SIZE - 1, SIZE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, SIZE),
    st.integers(0, 0xFFFFFFFF),
)
_CALLS = [
    (name, len(params))
    for name, forms in {**SOCKET_FUNCTIONS, **{n: (p,) for n, p in SHARED_FUNCTIONS.items()}}.items()
    for params in forms
    # these wait, or look names up
    if name not in ("sock_accept", "sock_connect", "poll_oneoff", "sock_getaddrinfo")
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(_CALLS), st.lists(_NUMBERS, min_size=8, max_size=8)), max_size=12))
def test_W22_no_numbers_break_the_host(calls: list[tuple[tuple[str, int], list[int]]]) -> None:
    world = Bench(Network("published"))
    try:
        for kind in (STREAM, DATAGRAM):
            world.call("fd_fdstat_set_flags", world.open(kind=kind), NONBLOCK)
        for (name, count), numbers in calls:
            if name.startswith("fd_") and numbers[0] < 1000:
                numbers[0] += 1000
            assert 0 <= world.call(name, *numbers[:count]) <= 87
    finally:
        world.table.close()


def test_datagram_sockets_stay_datagram_sockets(bench) -> None:
    world: Bench = bench()
    fd = world.open(kind=DATAGRAM)
    value, size = world.put(4), world.put(pack("<I", 4))
    assert world.call("sock_getsockopt", fd, 0, TYPE, value, size) == 0
    assert unpack("<I", world.get(value, 4)) == (DATAGRAM,)
    assert world.table.get(fd).kind == SOCK_DGRAM
    assert world.bind(fd, ANY) == 0
