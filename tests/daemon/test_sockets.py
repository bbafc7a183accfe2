"""A server's place: one at a time, stale sockets replaced, others' left alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sampan.core.errors import Exists, Invalid, Precondition
from sampan.daemon.alone import Alone
from sampan.daemon.sockets import Place, path_of

SOURCE = str(Path(__file__).parents[2] / "src")


@pytest.mark.parametrize(
    "address",
    ["", "/run/x.sock", "tcp://127.0.0.1:1", "unix://", "unix://x", "unix:///x/", "unix:///a\0b", "unix:/x"],
)
def test_what_is_no_address_of_a_socket_is_refused(address):
    with pytest.raises(Invalid, match="not the address of a socket"):
        path_of(address)


def test_a_path_that_the_kernel_cannot_take_is_refused():
    assert path_of("unix:///" + "x" * 106) == "/" + "x" * 106
    for long in ("x" * 107, "ü" * 54):
        with pytest.raises(Invalid, match="longer than 107 bytes"):
            path_of(f"unix:///{long}")


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:  # sockets' paths are bounded
        yield f"{folder}/a/b/s.sock"


def listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def test_missing_folders_are_made_and_the_socket_is_removed_at_the_end(path):
    with Place(path):
        listen(path).close()
    assert os.listdir(os.path.dirname(path)) == ["s.sock.lock"]


def test_the_socket_of_a_killed_server_is_replaced(path):
    os.makedirs(os.path.dirname(path))
    listen(path).close()
    with Place(path):
        assert not os.path.exists(path)


def test_a_socket_that_somebody_serves_is_left_alone(path):
    os.makedirs(os.path.dirname(path))
    with listen(path), pytest.raises(Exists, match="another server listens"), Place(path):
        pass
    assert os.path.exists(path)
    with Place(path):  # the lock was given back, and nobody listens any more
        pass


def test_a_file_that_is_no_socket_is_left_alone(path):
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write("precious")
    with pytest.raises(Exists, match="no socket"), Place(path):
        pass
    with open(path) as file:
        assert file.read() == "precious"


def test_X12_a_second_server_is_told_who_is_the_first(path):
    with (
        Place(path),
        pytest.raises(Precondition, match=f"the process {os.getpid()} has the socket"),
        Place(path),
    ):
        pass


def test_X12_a_lock_ends_with_its_process(tmp_path):
    script = (
        "import os, sys; from sampan.daemon.alone import Alone; Alone(sys.argv[1], 'x').take(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "lock"), SOURCE], check=True)
    with Alone(str(tmp_path / "lock"), "x"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
