"""Which imports mean which function, and the numbers that guests see."""

from __future__ import annotations

import errno
from _socket import EAI_NONAME, gaierror

import pytest

from sampan.engine.sockets import interface
from sampan.engine.sockets.interface import socket_function, uses_sockets, wasi_errno


@pytest.mark.parametrize(
    ("name", "params", "means"),
    [
        ("sock_accept", "ii", "sock_accept"),
        ("sock_accept", "iii", "sock_accept"),
        ("sock_accept", "i", ""),
        ("sock_accept_v2", "iii", "sock_accept"),
        ("sock_accept_v2", "ii", ""),
        ("sock_recv_from", "iiiiiii", "sock_recv_from"),
        ("sock_recv_from", "iiiiiiii", "sock_recv_from"),
        ("sock_getlocaladdr_v2", "iii", "sock_getlocaladdr"),
        ("sock_open_v2", "iii", "sock_open"),
        ("sock_shutdown", "iI", ""),
        ("sock_unheard_of", "i", ""),
        ("fd_read", "iiii", ""),
    ],
)
def test_an_import_means_a_function_by_its_name_and_type(name: str, params: str, means: str) -> None:
    assert socket_function(name, params) == means


def test_only_a_module_that_can_come_by_a_socket_is_given_these_functions() -> None:
    plain = {
        "sock_accept": "iii",
        "sock_recv": "iiiiii",
        "sock_send": "iiiii",
        "sock_shutdown": "ii",
        "fd_read": "i",
    }
    assert not uses_sockets(plain)
    assert uses_sockets({**plain, "sock_open": "iii"})
    assert uses_sockets({"sock_accept": "ii"})
    assert not uses_sockets({})


def test_the_errnos_are_those_of_wasi() -> None:
    # as in WASI's own list
    known = {"E2BIG": 1, "EACCES": 2, "EAGAIN": 6, "EBADF": 8, "ECONNREFUSED": 14, "EFAULT": 21, "EINPROGRESS": 26,
             "EINVAL": 28, "EIO": 29, "EMFILE": 33, "ENOSYS": 52, "ENOTCONN": 53, "EPIPE": 64, "EXDEV": 75}  # fmt: skip
    assert {name: interface.WASI_ERRNO[getattr(errno, name)] for name in known} == known
    assert wasi_errno(OSError(errno.ENOTUNIQ, "")) == known["EIO"]
    assert wasi_errno(OSError("without a number")) == known["EIO"]
    assert wasi_errno(gaierror(EAI_NONAME, "")) == 84


def test_the_structures_have_the_sizes_of_the_interface() -> None:
    sizes = {"SUBSCRIPTION": 48, "EVENT": 32, "FDSTAT": 24, "ADDRESS_INFO": 28, "SOCKET_ADDRESS": 12}
    assert {name: getattr(interface, name).size for name in sizes} == sizes
