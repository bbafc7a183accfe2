"""What a network grant means for binding and connecting."""

from __future__ import annotations

import socket

import pytest

from sampan.engine.grants import PortMap

from .conftest import ANY, DATAGRAM, INET4, INET6, LOOPBACK, LOOPBACK6, STREAM, Bench

EACCES, EADDRINUSE, EAFNOSUPPORT, ECONNREFUSED, ENOTSUP = 2, 3, 5, 14, 58


def ask(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((address, port), timeout=5)


def test_W23_without_a_grant_there_is_no_socket(bench) -> None:
    world: Bench = bench("none")
    for family in (INET4, INET6):
        for kind in (DATAGRAM, STREAM):
            assert world.call("sock_open", family, kind, world.put(4)) == EACCES
    empty = world.put(28)
    assert world.call("sock_getaddrinfo", empty, 4, empty, 4, empty, empty, 1, empty) == EACCES


def test_W23_a_mode_that_is_not_known_is_no_grant(bench) -> None:
    assert bench("hots").call("sock_open", INET4, STREAM, 0) == EACCES


def test_a_published_port_is_bound_at_its_mapping(bench) -> None:
    world: Bench = bench("published", PortMap("127.0.0.1", 0, 8080))
    fd, port = world.listen(ANY, 8080)
    ((mapping, host_port),) = world.bound
    assert (mapping.guest_port, port) == (8080, 8080)
    assert host_port not in (0, 8080)
    assert world.local(fd) == (ANY, 8080)
    with ask(host_port) as client:
        accepted = world.accept(fd)
        assert world.local(accepted) == (LOOPBACK, 8080)
        assert world.local(accepted, "sock_getpeeraddr") == (LOOPBACK, client.getsockname()[1])
        client.sendall(b"hello")
        assert world.receive(accepted) == b"hello"


def test_a_port_that_is_taken_on_the_host_is_an_error(bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        world: Bench = bench("published", PortMap("127.0.0.1", other.getsockname()[1], 8080))
        assert world.bind(world.open(), ANY, 8080) == EADDRINUSE
    assert world.bound == []


def test_a_port_can_be_published_more_than_once(bench) -> None:
    world: Bench = bench("published", PortMap("127.0.0.1", 0, 80), PortMap("127.0.0.1", 0, 80))
    fd, _ = world.listen(ANY, 80)
    ports = [port for _, port in world.bound]
    assert len(set(ports)) == 2
    for port in ports:
        with ask(port) as client:
            accepted = world.accept(fd)
            world.send(accepted, b"x")
            assert client.recv(1) == b"x"
    assert world.call("fd_fdstat_set_flags", fd, 4) == 0
    assert world.call("sock_accept", fd, world.put(4)) == 6  # EAGAIN
    assert world.call("fd_close", fd) == 0
    with pytest.raises(ConnectionRefusedError):
        ask(ports[1])


def test_when_one_of_two_mappings_fails_none_is_bound(bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        world: Bench = bench("published", PortMap("127.0.0.1", 0, 80), PortMap("127.0.0.1", taken, 80))
        assert world.bind(world.open(), ANY, 80) == EADDRINUSE
    assert world.bound == []


def test_an_ipv4_guest_can_be_published_on_ipv6(bench) -> None:
    world: Bench = bench("published", PortMap("::1", 0, 8080))
    fd, _ = world.listen(ANY, 8080)
    with ask(world.bound[0][1], "::1"):
        accepted = world.accept(fd)
        assert world.local(accepted, "sock_getpeeraddr")[0] == bytes(4)


def test_an_ipv6_guest_can_be_published_on_ipv4(bench) -> None:
    world: Bench = bench("published", PortMap("127.0.0.1", 0, 8080))
    fd, _ = world.listen(bytes(16), 8080, INET6)
    with ask(world.bound[0][1]):
        address, _ = world.local(world.accept(fd), "sock_getpeeraddr")
        assert address == bytes(10) + b"\xff\xff" + LOOPBACK


def test_a_datagram_port_is_published_by_its_protocol(bench) -> None:
    world: Bench = bench("published", PortMap("127.0.0.1", 0, 53, "tcp"), PortMap("127.0.0.1", 0, 53, "udp"))
    fd = world.open(kind=DATAGRAM)
    assert world.bind(fd, ANY, 53) == 0
    ((mapping, port),) = world.bound
    assert mapping.protocol == "udp"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"question", ("127.0.0.1", port))
        assert world.receive(fd) == b"question"


def test_a_datagram_port_published_twice_is_refused(bench) -> None:
    world: Bench = bench("published", *[PortMap("127.0.0.1", 0, 53, "udp")] * 2)
    assert world.bind(world.open(kind=DATAGRAM), ANY, 53) == ENOTSUP


def test_a_port_that_is_not_published_is_the_guests_own(bench) -> None:
    world: Bench = bench("published")
    server, port = world.listen(ANY, 5000)
    assert (port, world.bound) == (5000, [])
    assert world.bind(world.open(), LOOPBACK, 5000) == EADDRINUSE
    client = world.open()
    assert world.connect(client, LOOPBACK, 5000) == 0  # its own loopback
    assert world.local(client, "sock_getpeeraddr") == (LOOPBACK, 5000)
    world.send(client, b"to myself")
    assert world.receive(world.accept(server)) == b"to myself"
    assert world.call("fd_close", server) == 0
    assert world.listen(ANY, 5000)[1] == 5000


def test_any_port_gives_a_real_one(bench) -> None:
    world: Bench = bench("published")
    assert world.listen(ANY, 0)[1] > 0


@pytest.mark.parametrize("packed", [LOOPBACK, ANY, bytes([127, 9, 9, 9])])
def test_W23_the_hosts_loopback_is_not_reached_by_a_published_guest(bench, packed: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host_service:
        port = host_service.getsockname()[1]
        world: Bench = bench("published")
        assert world.connect(world.open(), packed, port) == ECONNREFUSED
        six = world.open(INET6)
        assert world.connect(six, bytes(10) + b"\xff\xff" + packed, port) == ECONNREFUSED
        assert world.connect(six, LOOPBACK6, port) == ECONNREFUSED
        datagram = world.open(kind=DATAGRAM)
        sent = world.call(
            "sock_send_to", datagram, *world.vectors(b"x"), world.address(packed), port, 0, world.put(4)
        )
        assert sent == ECONNREFUSED
        host: Bench = bench("host")
        assert host.connect(host.open(), LOOPBACK, port) == 0


def test_an_address_of_another_family_is_refused(bench) -> None:
    world: Bench = bench()
    assert world.bind(world.open(INET4), LOOPBACK6) == EAFNOSUPPORT
    assert world.connect(world.open(INET6), LOOPBACK, 80) == EAFNOSUPPORT
