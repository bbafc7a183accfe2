"""The streaming server with commands and ports that are functions of the test: no container is needed for these."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from sampan.core.errors import Exhausted, Invalid, NotFound
from sampan.doors.cri.streaming import remotecommand, requests, tokens
from sampan.doors.cri.streaming.portforward import PortForward
from sampan.doors.cri.streaming.remotecommand import RemoteCommand, Streams, Wish
from sampan.doors.cri.streaming.server import StreamingServer
from sampan.wire import spdy
from sampan.wire.websocket import TEXT

from ..wire.peers import control, data, masked, unframed
from .clients import Refused, Spdy, TunnelledSpdy, Web, connect

ALL = Wish(stdin=True, stdout=True, stderr=True, tty=False)
FAILED = {"reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}


@pytest.fixture
def server() -> Iterator[StreamingServer]:
    server = StreamingServer()
    server.start()
    yield server
    server.close()


async def echo(given: Streams) -> int:
    """Says its input again, then ends with 3."""
    assert given.stdin is not None and given.stdout is not None and given.stderr is not None
    await given.stderr.write(b"ready")
    while part := await given.stdin.read():
        await given.stdout.write(part)
    return 3


def promise(server: StreamingServer, run: remotecommand.Run = echo, wish: Wish = ALL) -> str:
    return server.url("exec", RemoteCommand(wish, run))


def opened(url: str, *names: str, protocol: str = "v4.channel.k8s.io") -> Spdy:
    client = Spdy(url, protocol)
    for name in names or ("error", "stdin", "stdout", "stderr"):
        client.open(name)
    return client


def test_spdy_carries_each_stream_and_the_exit_code(server):
    client = opened(promise(server))
    client.until("stderr", b"ready")
    client.send("stdin", b"hello ")
    client.until("stdout", b"hello ")
    client.send("stdin", b"you", end=True)
    status = client.status()
    assert {key: status[key] for key in FAILED} == FAILED
    assert (client.text("stdout"), client.text("stderr")) == (b"hello you", b"ready")
    assert client.accepted == client.ended == {1, 3, 5, 7}
    assert (spdy.GOAWAY, 7, bytes(4)) in client.others


@pytest.mark.parametrize("protocol", ["channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io"])
def test_before_version_4_a_failure_is_a_sentence(server, protocol):
    client = opened(promise(server), protocol=protocol)
    client.send("stdin", b"", end=True)
    client.until_end()
    assert client.text("error") == b"command terminated with non-zero exit code: exit status 3"


def test_success_and_what_stopped_a_command_are_told(server):
    async def nothing(_: Streams) -> int:
        return 0

    async def absent(_: Streams) -> int:
        raise NotFound("there is no such program", fix="name another")

    wish = ALL._replace(stdin=False, stderr=False)
    assert opened(promise(server, nothing, wish), "error", "stdout").status()["status"] == "Success"
    status = opened(promise(server, absent, wish), "error", "stdout").status()
    assert (status["status"], status["reason"]) == ("Failure", "InternalError")
    assert status["message"] == "there is no such program; name another (NOT_FOUND)"


def test_websocket_version_5_ends_input_by_its_close_channel(server):
    client = Web(promise(server))
    client.send(0, b"hello")
    client.until(1, b"hello")
    client.send(255, b"\0")
    assert client.status()["reason"] == "NonZeroExitCode"
    assert bytes(client.got[2]) == b"ready"


def test_websocket_in_base64(server):
    client = Web(promise(server), "v4.base64.channel.k8s.io")
    client.socket.sendall(masked(TEXT, b"0" + base64.b64encode(b"hello")))
    said = b""
    while True:
        said += client.socket.recv(4096)
        frames, _ = unframed(said)
        if (TEXT, b"1" + base64.b64encode(b"hello")) in frames:
            break
    assert {opcode for opcode, _ in frames} == {TEXT}
    client.close()


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
def test_a_terminals_sizes_come_in_any_pieces(server, transport):
    seen: list[tuple[int, int]] = []

    async def run(given: Streams) -> int:
        async for size in given.sizes():
            seen.append(size)
            if len(seen) == 3:
                break
        return 0

    url = promise(server, run, Wish(stdin=False, stdout=True, stderr=False, tty=True))
    parts = (
        b'{"Width":80,"Hei',
        b'ght":24}{"Width":"x","Height":1}\n{"Width":1,"Height":2}',
        b' {"Height":3,"Width":4}',
    )
    if transport == "spdy":
        client = opened(url, "error", "stdout", "resize")
        for part in parts:
            client.send("resize", part)
        client.status()
    else:
        web = Web(url)
        for part in parts:
            web.send(4, part)
        web.status()
    assert seen == [(24, 80), (2, 1), (3, 4)]


def test_K10_garbage_for_a_terminals_size_is_no_more_than_ignored(server):
    async def run(given: Streams) -> int:
        return len([size async for size in given.sizes()])

    client = opened(
        promise(server, run, Wish(stdin=False, stdout=True, stderr=False, tty=True)),
        "error",
        "stdout",
        "resize",
    )
    for _ in range(3):
        client.send("resize", b"[" * 100_000)
    client.send("resize", b"", end=True)
    assert client.status()["status"] == "Success"


def test_K10_a_flood_of_sizes_is_held_back(server):
    """CVE-2022-23471: a command that takes no sizes must not have them all kept for it."""
    over = threading.Event()

    async def run(_: Streams) -> int:
        while not over.is_set():
            await asyncio.sleep(0.05)
        return 0

    client = Web(promise(server, run, Wish(stdin=False, stdout=True, stderr=False, tty=True)))
    client.until(1, b"")
    message = masked(2, b"\4" + b'{"Width":1,"Height":2}' * 40_000, mask=bytes(4))
    client.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        for _ in range(200):
            client.socket.sendall(message)
    over.set()
    client.close()


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
def test_a_client_that_goes_away_ends_its_command(server, transport):
    ended = threading.Event()

    async def run(_: Streams) -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return 0

    url = promise(server, run)
    client = opened(url) if transport == "spdy" else Web(url)
    while not (len(client.accepted) == 4 if isinstance(client, Spdy) else client.got):
        client.listen()
    client.close()
    assert ended.wait(20)


def test_K10_a_client_that_leaves_while_nobody_takes_its_input_is_noticed(server):
    ended = threading.Event()

    async def run(_: Streams) -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return 0

    client = opened(promise(server, run))
    client.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        while True:
            client.send("stdin", bytes(1 << 16))
    client.close()
    assert ended.wait(20)


def test_K10_a_client_that_takes_nothing_holds_its_command_up(server):
    written = [0]

    async def run(given: Streams) -> int:
        assert given.stdout is not None
        while True:
            await given.stdout.write(bytes(1 << 16))
            written[0] += 1 << 16

    client = Web(promise(server, run))
    before = -1
    while before != written[0]:
        before = written[0]
        time.sleep(0.5)
    assert 0 < written[0] < 32 << 20
    client.close()


def test_K10_pings_that_are_not_listened_to_are_held_back(server):
    client = opened(promise(server))
    client.until("stderr", b"ready")
    client.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        while True:
            client.socket.sendall(control(spdy.PING, b"\0\0\0\1") * 10_000)
    client.close()


def test_K10_a_token_is_for_one_client_one_kind_and_a_minute(server, monkeypatch):
    url = promise(server)
    with pytest.raises(Refused, match="404"):
        Web(url.replace("/exec/", "/attach/"))
    with pytest.raises(Refused, match="404"):
        Web(url)
    with pytest.raises(Refused, match="404"):
        Web(url[:-1])
    url = promise(server)
    Web(url).close()
    with pytest.raises(Refused, match="404"):
        Web(url)
    late = promise(server)
    clock = time.monotonic
    monkeypatch.setattr(tokens.time, "monotonic", lambda: clock() + tokens.SECONDS)
    with pytest.raises(Refused, match="404"):
        Web(late)


def test_K10_promises_that_nobody_comes_for_are_bounded(monkeypatch):
    kept = tokens.Tokens()
    for _ in range(tokens.MOST):
        kept.issue("exec", RemoteCommand(ALL, echo))
    with pytest.raises(Exhausted):
        kept.issue("exec", RemoteCommand(ALL, echo))
    clock = time.monotonic
    monkeypatch.setattr(tokens.time, "monotonic", lambda: clock() + tokens.SECONDS)
    assert len(kept.issue("exec", RemoteCommand(ALL, echo))) >= 22
    assert len(kept._entries) == 1


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /exec/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 404),
        (b"DELETE /exec/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000), 400),
    ],
)
def test_K1_what_is_no_request_of_ours_is_refused(server, request_bytes, status):
    client = socket.create_connection(("127.0.0.1", server._port), 20)
    try:
        client.sendall(request_bytes)
    except ConnectionError:  # it was refused before it was whole
        pass
    assert client.recv(4096).startswith(b"HTTP/1.1 %d " % status)
    client.close()


def test_K1_a_request_that_never_ends_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(requests, "SECONDS", 0.3)
    client = socket.create_connection(("127.0.0.1", server._port), 20)
    client.sendall(b"GET / HTTP/1.1\r\n")
    assert client.recv(1) == b""
    client.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 403),
        (("Upgrade: SPDY/3.1",), 403),
        (("Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v9.channel.k8s.io"), 403),
        (("Upgrade: h2c",), 403),
    ],
)
def test_an_upgrade_that_is_not_served_is_refused(server, headers, status):
    with pytest.raises(Refused, match=str(status)):
        connect(promise(server), *headers)


def test_K10_streams_that_are_never_opened_are_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(remotecommand, "OPENING_SECONDS", 0.3)
    client = opened(promise(server), "error", "stdout")
    client.until_end()
    assert (client.text("error"), client.text("stdout")) == (b"", b"")


def test_K10_streams_that_nobody_asked_for_are_given_back(server):
    client = opened(promise(server), "error", "other", "error", "stdin", "stdout", "stderr")
    client.send("stdin", b"", end=True)
    client.until_end()
    assert client.reset == {3, 5}


def test_K1_streams_that_come_later_are_given_back_at_once(server):
    client = opened(promise(server))
    client.until("stderr", b"ready")
    later = [client.open("stdin") for _ in range(3000)]
    while not client.reset >= set(later):
        assert client.listen()
    client.close()


@pytest.mark.parametrize("garbage", [b"\x80\x03\0\1\0\xff\xff\xff", data(77, b"x"), b"\xff" * 100])
def test_K1_a_client_that_breaks_the_protocol_is_cut_off(server, garbage):
    client = opened(promise(server))
    client.until("stderr", b"ready")
    client.socket.sendall(garbage)
    try:
        client.until_end()
    except ConnectionError:
        pass
    other = opened(promise(server))
    other.until("stderr", b"ready")
    other.close()


class Port:
    """A server on a port of this machine that does what a function says with its one client."""

    def __init__(self, serve):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.number = self._listener.getsockname()[1]
        self._serve = serve
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        client, _ = self._listener.accept()
        with client:
            client.settimeout(20)
            self._serve(client)

    def close(self):
        self._thread.join()
        self._listener.close()


def shout(client: socket.socket) -> None:
    """Says what it hears in capitals, once that has ended."""
    heard = b"".join(iter(lambda: client.recv(4096), b""))
    client.sendall(heard.upper())


async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


def test_port_forward_carries_several_connections_over_spdy(server):
    client = Spdy(server.url("portforward", PortForward(dial, [])), "portforward.k8s.io")
    for at in range(3):
        port = Port(shout)
        error, content = f"error{at}", f"data{at}"
        headers = {"port": str(port.number), "requestID": str(at)}
        client.open(error, streamType="error", **headers)
        client.send(error, b"", end=True)
        client.open(content, streamType="data", **headers)
        client.send(content, b"ahoy ")
        client.send(content, b"there", end=True)
        client.until(content, b"AHOY THERE")
        while client.streams[content] not in client.ended or client.streams[error] not in client.ended:
            client.listen()
        port.close()
    assert client.text("error0") == b""
    client.close()


def test_port_forward_without_request_ids_pairs_neighbours(server):
    port = Port(shout)
    client = Spdy(server.url("portforward", PortForward(dial, [])), "portforward.k8s.io")
    client.open("error", port=str(port.number))
    client.open("data", port=str(port.number))
    client.send("data", b"ahoy", end=True)
    client.until("data", b"AHOY")
    port.close()
    client.close()


def test_port_forward_says_why_nobody_answers_and_goes_on(server):
    closed = socket.create_server(("127.0.0.1", 0))
    number = closed.getsockname()[1]
    closed.close()
    client = Spdy(server.url("portforward", PortForward(dial, [])), "portforward.k8s.io")
    client.open("error", port=str(number), requestID="0")
    client.open("data", port=str(number), requestID="0")
    client.until("error", b"UNAVAILABLE")
    while client.streams["data"] not in client.reset:
        client.listen()
    client.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"streamType": "other", "port": "80"},
        {"streamType": "data"},
        {"streamType": "data", "port": "0"},
        {"streamType": "data", "port": "65536"},
        {"streamType": "data", "port": "²"},
    ],
)
def test_port_forward_gives_streams_back_that_are_none_of_its(server, headers):
    client = Spdy(server.url("portforward", PortForward(dial, [])), "portforward.k8s.io")
    stream = client.open("x", **headers)
    while stream not in client.reset:
        assert client.listen()
    client.close()


def test_port_forward_over_websocket_has_two_channels_for_a_port(server):
    port = Port(lambda client: client.sendall(client.recv(4096).upper()))
    client = Web(server.url("portforward", PortForward(dial, [port.number])), "v4.channel.k8s.io")
    client.send(0, b"ahoy")
    client.until(0, b"AHOY")
    client.until_end()
    number = port.number.to_bytes(2, "little")
    assert client.got == {0: number + b"AHOY", 1: number}
    port.close()


def test_port_forward_by_spdy_inside_websocket(server):
    port = Port(shout)
    url = server.url("portforward", PortForward(dial, []))
    client = TunnelledSpdy(url, "SPDY/3.1+portforward.k8s.io")
    client.open("error", port=str(port.number), requestID="0")
    client.open("data", port=str(port.number), requestID="0")
    client.send("data", b"ahoy", end=True)
    client.until("data", b"AHOY")
    client.close()
    port.close()


def test_K10_many_clients_cost_no_threads(server):
    threads = threading.active_count()
    clients = [Web(promise(server)) for _ in range(300)]
    for client in clients:
        client.until(2, b"ready")
    assert threading.active_count() == threads
    for client in clients:
        client.close()


def test_what_a_server_promised_ends_with_it():
    ended = threading.Event()

    async def run(_: Streams) -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return 0

    server = StreamingServer("[::1]:0")
    server.start()
    client = opened(promise(server, run))
    while len(client.accepted) < 4:
        client.listen()
    server.close()
    assert ended.is_set()
    client.close()


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", ":80", "127.0.0.1:x", "127.0.0.1:70000", "0.0.0.0:0", "10.0.0.1:0", "[::]:0", "host:1"],
)
def test_K10_an_address_that_others_reach_is_refused(address):
    with pytest.raises(Invalid):
        StreamingServer(address)
