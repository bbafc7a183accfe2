"""One wait for clocks, sockets and standard streams."""

from __future__ import annotations

import os
import time
from struct import iter_unpack, pack

import pytest

from .conftest import LOOPBACK, Bench
from .test_shared import standard_input  # noqa: F401 - a fixture

CLOCK, READ, WRITE = range(3)
REALTIME, MONOTONIC, CPU = range(3)
EBADF, EFAULT, EINVAL = 8, 21, 28
FOREVER = 292 * 365 * 86_400 * 10**9


def clock(user_data: int, timeout: int, *, identity: int = MONOTONIC, absolute: bool = False) -> bytes:
    return pack("<QB7xI4xQQH6x", user_data, CLOCK, identity, timeout, 0, int(absolute))


def on(user_data: int, kind: int, fd: int) -> bytes:
    return pack("<QB7xI28x", user_data, kind, fd)


def poll(world: Bench, *subscriptions: bytes) -> list[tuple[int, int, int, int, int]]:
    """The events: user data, error, kind, bytes, flags."""
    wanted, room, count = world.put(b"".join(subscriptions)), world.put(32 * len(subscriptions)), world.put(4)
    assert world.call("poll_oneoff", wanted, room, len(subscriptions), count) == 0
    return list(iter_unpack("<QHB5xQH6x", world.get(room, 32 * world.u32(count))))


def test_a_readable_socket_is_an_event(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    world.send(client, b"x")
    assert poll(world, clock(1, FOREVER), on(2, READ, server)) == [(2, 0, READ, 1, 0)]


def test_a_new_connection_is_an_event(bench) -> None:
    world: Bench = bench()
    listener, port = world.listen()
    assert poll(world, clock(1, 10_000_000), on(2, READ, listener)) == [(1, 0, CLOCK, 0, 0)]
    world.connect(world.open(), LOOPBACK, port)
    assert poll(world, clock(1, FOREVER), on(2, READ, listener)) == [(2, 0, READ, 1, 0)]


def test_events_come_in_the_order_of_the_subscriptions(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    world.send(client, b"x")
    events = poll(world, on(9, WRITE, client), on(8, READ, server), on(7, READ, 4000), on(6, WRITE, server))
    assert [(e[0], e[1], e[2]) for e in events] == [
        (9, 0, WRITE),
        (8, 0, READ),
        (7, EBADF, READ),
        (6, 0, WRITE),
    ]


def test_one_socket_can_be_waited_for_in_both_directions(bench) -> None:
    world: Bench = bench()
    client, _ = world.pair()
    assert poll(world, on(1, READ, client), on(2, WRITE, client)) == [(2, 0, WRITE, 1, 0)]


def test_a_guest_that_is_told_to_write_and_does_not_is_told_more_slowly(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    begin = time.monotonic_ns()
    for _ in range(12):
        assert poll(world, on(1, READ, server), on(2, WRITE, server)) == [(2, 0, WRITE, 1, 0)]
    assert time.monotonic_ns() - begin >= 100_000_000  # 0, 1, 2, 4, 8, 16, 32, 32 ... ms
    world.send(client, b"x")  # anything else ends the pause, and both are told
    assert poll(world, on(1, READ, server), on(2, WRITE, server)) == [(1, 0, READ, 1, 0), (2, 0, WRITE, 1, 0)]
    world.send(server, b"y")  # it does write: told at once again
    assert world.table.get(server).told_writable == 0


def test_a_reset_connection_is_an_event_with_hangup(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    assert (
        world.call("sock_setsockopt", client, 0, 9, world.put(pack("<II", 1, 0)), 8) == 0
    )  # linger 0: reset
    assert world.call("fd_close", client) == 0
    assert poll(world, on(1, READ, server), clock(2, FOREVER)) == [(1, 0, READ, 1, 1)]


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("identity", [REALTIME, MONOTONIC])
def test_a_clock_is_never_early(bench, identity: int, absolute: bool) -> None:
    world: Bench = bench()
    fd, _ = world.listen()
    clocks = {REALTIME: time.CLOCK_REALTIME, MONOTONIC: time.CLOCK_MONOTONIC}
    begin = time.clock_gettime_ns(clocks[identity])
    timeout = 15_300_000 + (begin if absolute else 0)
    events = poll(
        world, on(1, READ, fd), clock(2, timeout, identity=identity, absolute=absolute), clock(3, FOREVER)
    )
    assert time.clock_gettime_ns(clocks[identity]) - begin >= 15_300_000
    assert events == [(2, 0, CLOCK, 0, 0)]


def test_a_clock_in_the_past_does_not_wait(bench) -> None:
    world: Bench = bench()
    fd, _ = world.listen()
    assert poll(world, clock(1, 5, absolute=True), on(2, READ, fd)) == [(1, 0, CLOCK, 0, 0)]


def test_a_clock_that_there_is_not_is_an_event_with_an_error(bench) -> None:
    world: Bench = bench()
    fd, _ = world.listen()
    assert poll(world, clock(1, 0, identity=CPU), on(2, READ, fd)) == [(1, EINVAL, CLOCK, 0, 0)]


def test_standard_input_and_a_socket_are_waited_for_together(bench, standard_input: int) -> None:  # noqa: F811
    world: Bench = bench()
    client, server = world.pair()
    both = (on(1, READ, 0), on(2, READ, server))
    assert poll(world, *both, clock(3, 5_000_000)) == [(3, 0, CLOCK, 0, 0)]
    os.write(standard_input, b"typed")
    assert poll(world, *both, clock(3, FOREVER)) == [(1, 0, READ, 1, 0)]
    world.send(client, b"sent")
    assert [e[0] for e in poll(world, *both)] == [1, 2]


def test_a_file_is_always_ready(bench) -> None:
    world: Bench = bench()
    fd, _ = world.listen()
    assert poll(world, on(1, READ, 4), on(2, READ, fd), on(3, WRITE, 5)) == [
        (1, 0, READ, 1, 0),
        (3, EBADF, WRITE, 0, 0),
    ]


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ((0, 0, 0, 0), EINVAL),
        ((0, 0, 1_000_000, 0), EINVAL),
        ((0, 0, 0xFFFFFFFF, 0), EINVAL),
        ((1 << 17, 0, 1, 0), EFAULT),
        ((0, (1 << 17) - 31, 1, 0), EFAULT),
        ((0, 0, 1, (1 << 17) - 3), EFAULT),
    ],
)
def test_W22_a_list_that_is_not_there_is_an_errno(bench, numbers: tuple[int, ...], error: int) -> None:
    assert bench().call("poll_oneoff", *numbers) == error


def test_an_unknown_kind_of_subscription_is_refused(bench) -> None:
    world: Bench = bench()
    place = world.put(on(1, 3, 0))
    assert world.call("poll_oneoff", place, world.put(32), 1, world.put(4)) == EINVAL
