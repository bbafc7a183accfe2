"""WASI's own functions on our sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from struct import unpack

import pytest

from .conftest import DATAGRAM, Bench

EBADF, ENOTSUP = 8, 58


@pytest.fixture
def standard_input() -> Iterator[int]:
    """A pipe in the place of descriptor 0; gives its writing end."""
    read, write = os.pipe()
    saved = os.dup(0)
    os.dup2(read, 0)
    yield write
    os.dup2(saved, 0)
    for fd in (read, saved, write):
        os.close(fd)


def test_reading_and_writing_work_on_sockets(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    out = world.put(4)
    assert world.call("fd_write", client, *world.vectors(b"by ", b"write"), out) == 0
    assert world.u32(out) == 8
    array, count = world.vectors(32)
    assert world.call("fd_read", server, array, count, out) == 0
    assert world.vector_data(array)[: world.u32(out)] == b"by write"


def test_a_closed_descriptor_is_gone_and_its_peer_sees_the_end(bench) -> None:
    world: Bench = bench()
    client, server = world.pair()
    assert world.call("fd_close", client) == 0
    assert world.receive(server) == b""
    for name, numbers in {
        "fd_close": (),
        "fd_read": (0, 0, 0),
        "fd_write": (0, 0, 0),
        "fd_fdstat_get": (0,),
    }.items():
        assert world.call(name, client, *numbers) == EBADF


def test_a_socket_says_what_it_is(bench) -> None:
    world: Bench = bench()
    out = world.put(24)
    for kind, file_type in ((DATAGRAM, 5), (2, 6)):
        fd = world.open(kind=kind)
        for flags in (0, 4, 0):
            assert world.call("fd_fdstat_set_flags", fd, flags) == 0
            assert world.call("fd_fdstat_get", fd, out) == 0
            shown_type, shown_flags, rights, _ = unpack("<BxH4xQQ", world.get(out, 24))
            assert (shown_type, shown_flags) == (file_type, flags)
            assert rights & 0b1000010  # read and write


def test_other_descriptors_are_left_to_the_engine(bench) -> None:
    world: Bench = bench()
    for name, numbers in {
        "fd_write": (0, 0, 0),
        "fd_close": (),
        "fd_fdstat_get": (0,),
        "fd_read": (0, 0, 0),
    }.items():
        assert getattr(world.shared, name)(5, *numbers) is True


def test_a_socket_cannot_take_another_number(bench) -> None:
    world: Bench = bench()
    fd = world.open()
    assert world.call("fd_renumber", fd, 3) == ENOTSUP
    assert world.call("fd_renumber", 3, fd) == ENOTSUP


@pytest.mark.parametrize("blocking", [True, False])
def test_standard_input_is_waited_for(bench, standard_input: int, blocking: bool) -> None:
    world: Bench = bench()
    os.set_blocking(0, blocking)
    array, count = world.vectors(32)
    out = world.put(4)
    late = threading.Timer(0.05, os.write, (standard_input, b"typed"))
    late.start()
    assert world.call("fd_read", 0, array, count, out) == 0
    late.join()
    assert world.vector_data(array)[: world.u32(out)] == b"typed"


def test_after_it_is_closed_descriptor_0_is_the_engines(bench) -> None:
    world: Bench = bench()
    assert world.shared.fd_close(0) is True
    assert world.shared.fd_read(0, 0, 0, 0) is True
    assert world.shared.fd_renumber(4, 1) is True
    assert world.shared.stdio == {2}
