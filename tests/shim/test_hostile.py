"""Peers that mean no good, or are broken: rows S1 to S4, S6, S9 and S11. The server answers or closes, and lives."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.core.errors import Exhausted, Invalid, SampanError
from sampan.doors.shim import connections, messages
from sampan.doors.shim.connections import Server
from sampan.doors.shim.loop import Loop
from sampan.doors.shim.messages import TaskRequest
from sampan.wire import ttrpc

from .conftest import SERVICE, Client, Shim, until

Task = tuple[Client, str, Path]


def header(length: int, stream: int, kind: int = 1, flags: int = 0) -> bytes:
    return struct.pack(">IIBB", length, stream, kind, flags)


@pytest.fixture
def address(task: Task) -> str:
    return (task[2] / "address").read_text()


@pytest.fixture
def raw(shim: Shim, address: str) -> Client:
    return shim.connect(address)


def lives(task: Task) -> bool:
    return task[0].state(task[1]).id == task[1]


def test_S1_a_frame_that_is_too_long_is_answered_and_the_connection_goes_on(task: Task, raw: Client) -> None:
    length = ttrpc.MAX_DATA + 1
    raw.socket.sendall(header(length, 1) + bytes(length))
    with pytest.raises(Exhausted, match="longer than"):
        raw.answer(1)
    raw.socket.sendall(ttrpc.request(3, SERVICE, "State", TaskRequest(task[1]).encode()))
    assert messages.StateResponse.decode(raw.answer(3)).id == task[1]


def test_S3_a_stream_id_that_is_even_zero_or_not_larger_is_refused(task: Task, raw: Client) -> None:
    body = TaskRequest(task[1]).encode()
    for stream in (0, 2, 5, 4, 5, 3):
        raw.socket.sendall(ttrpc.request(stream, SERVICE, "State", body))
    assert messages.StateResponse.decode(raw.answer(5)).id == task[1]
    for stream in (0, 2, 4, 5, 3):
        with pytest.raises(Invalid, match="stream id"):
            raw.answer(stream)


@pytest.mark.parametrize("kind", [0, 2, 3, 255])
def test_S3_a_frame_that_is_no_request_ends_the_connection(task: Task, raw: Client, kind: int) -> None:
    raw.socket.sendall(header(0, 1, kind))
    assert raw.socket.recv(1) == b""
    assert lives(task)


def test_S3_a_call_that_would_stream_is_refused(task: Task, raw: Client) -> None:
    body = ttrpc.Request(SERVICE, "State", TaskRequest(task[1]).encode()).encode()
    raw.socket.sendall(header(len(body), 1, 1, 2) + body)
    with pytest.raises(SampanError, match="streaming"):
        raw.answer(1)


def test_S4_connections_that_break_off_and_more_than_there_is_room_for(task: Task, address: str) -> None:
    for piece in (b"", b"\0", header(100, 1)[:7], header(100, 1), header(100, 1) + b"half"):
        for reset in (False, True):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(address.removeprefix("unix://"))
            peer.sendall(piece)
            if not reset:
                peer.shutdown(socket.SHUT_WR)
            peer.close()
    many = []
    for _ in range(connections.MAX_CONNECTIONS + 20):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(address.removeprefix("unix://"))
        many.append(peer)
    assert lives(task)
    many[-1].settimeout(10)
    assert many[-1].recv(1) == b""
    for peer in many:
        peer.close()
    until(lambda: _answers(address, task[1]))


def _answers(address: str, name: str) -> bool:
    client = Client(address)
    try:
        return client.state(name).id == name
    except (OSError, EOFError):
        return False
    finally:
        client.close()


@pytest.mark.parametrize("sent", [b"", b"\0\0", header(100, 1), header(0xFFFFFFFF, 1)])
def test_S2_S4_silence_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)
    loop, listener = Loop.__new__(Loop), socket.socket(socket.AF_UNIX)
    _quiet(loop)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    listener.setblocking(False)
    server = Server(loop, listener, lambda call: None)
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(tmp_path / "s"))
    peer.sendall(sent)
    peer.setblocking(False)
    loop._turn()
    assert server.connections == 1
    while server.connections:
        loop._turn()
    assert peer.recv(1) == b""
    server.close()
    peer.close()


def _quiet(loop: Loop) -> None:
    """A loop that leaves this process's signals alone."""
    import select

    loop._poll, loop._callbacks, loop._due = select.poll(), {}, []
    loop._count, loop._soon, loop._stopped = 0, [], False


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), method=st.sampled_from(["Create", "Exec", "Kill", "Update", "State"]))
def test_S6_any_payload_is_answered(task: Task, data: bytes, method: str) -> None:
    client = task[0]
    stream = next(client._streams)
    client.socket.sendall(ttrpc.request(stream, SERVICE, method, data))
    try:
        client.answer(stream)
    except SampanError as error:
        assert error.kind in ("INVALID", "NOT_FOUND", "UNIMPLEMENTED")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=100))
def test_S6_any_request_is_answered(task: Task, data: bytes) -> None:
    client = task[0]
    stream = next(client._streams)
    client.socket.sendall(ttrpc.encode(stream, ttrpc.REQUEST, data))
    with pytest.raises(SampanError):
        client.answer(stream)


def test_S6_text_that_is_not_utf8(task: Task) -> None:
    client = task[0]
    stream = next(client._streams)
    client.socket.sendall(ttrpc.request(stream, SERVICE, "State", b"\x0a\x02\xff\xfe"))
    with pytest.raises(Invalid, match="not UTF-8"):
        client.answer(stream)


@pytest.mark.parametrize(
    "request_",
    [
        ttrpc.Request(SERVICE, "State", b"", -1),
        ttrpc.Request(SERVICE, "State", b"", -(2**63)),
        ttrpc.Request(SERVICE, "State", b"", 0, [ttrpc.KeyValue("key", "x" * (1 << 20))]),
    ],
)
def test_S9_metadata_and_timeouts_out_of_bounds(task: Task, request_: ttrpc.Request) -> None:
    client = task[0]
    stream = next(client._streams)
    client.socket.sendall(ttrpc.encode(stream, ttrpc.REQUEST, request_.encode()))
    with pytest.raises(Invalid):
        client.answer(stream)
    assert lives(task)


def test_S11_the_socket_is_its_owners_and_another_user_is_not_served(task: Task, address: str) -> None:
    path = Path(address.removeprefix("unix://"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for above in (path, *list(path.parents)[:4]):
        above.chmod(0o777)
    program = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(10)\n"
        "sys.exit(0 if s.recv(1) == b'' else 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=30)
    assert done.returncode == 0
    assert lives(task)


def test_much_that_is_asked_for_and_never_read_costs_only_that_connection(task: Task, address: str) -> None:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(address.removeprefix("unix://"))
    peer.settimeout(5)
    stream = 1
    try:
        while stream < 400_001:
            block = b"".join(
                ttrpc.request(number, SERVICE, "State", TaskRequest(task[1]).encode())
                for number in range(stream, stream + 2000, 2)
            )
            peer.sendall(block)
            stream += 2000
    except OSError:
        pass
    assert lives(task)
    peer.close()
    assert os.path.exists(f"/proc/{task[0].state(task[1]).pid}")
