"""The socket, the limits, and errors as codes."""

from __future__ import annotations

import logging
import os
import resource
import socket
import stat
import threading

import grpc
import pytest

from sampan.core import errors
from sampan.core.errors import SampanError, Unavailable
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.errors import CODES
from sampan.doors.cri.routing.router import Router
from sampan.doors.cri.routing.server import MOST_CALLS, MOST_MESSAGE, Server

from .peers import Ours, always, refusal

STATUS = "/runtime.v1.RuntimeService/ContainerStatus"
REQUEST = api.ContainerStatusRequest(container_id="c-ours")


@pytest.mark.parametrize("kind", sorted(errors.KINDS))
def test_each_kind_of_error_has_a_code(peers, kind):
    def fail(request, context):
        raise errors.KINDS[kind]("the pod is so", fix="do that")

    front = peers.front(ContainerStatus=fail)
    assert refusal(lambda: front("ContainerStatus", REQUEST)) == (CODES[kind], "the pod is so; do that")


def test_a_fault_of_ours_is_internal_and_its_traceback_in_the_log(peers, caplog):
    def fail(request, context):
        raise KeyError("surprise")

    front = peers.front(ContainerStatus=fail)
    with caplog.at_level(logging.ERROR):
        code, words = refusal(lambda: front("ContainerStatus", REQUEST))
    assert code is grpc.StatusCode.INTERNAL and words == "a fault of sampan cri: KeyError: 'surprise'"
    assert caplog.records[0].exc_info is not None


def test_an_error_of_the_machine_is_of_its_kind(peers):
    def fail(request, context):
        raise OSError(28, "No space left on device", "/data/pod.json")

    front = peers.front(ContainerStatus=fail)
    code, words = refusal(lambda: front("ContainerStatus", REQUEST))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "/data/pod.json" in words


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff", b"\x0b"])
def test_what_is_no_message_is_invalid(peers, raw):
    front = peers.front(ContainerStatus=always(api.ContainerStatusResponse()))
    assert refusal(lambda: front.channel.unary_unary(STATUS)(raw))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert front("ContainerStatus", REQUEST)


def test_K14_the_socket_is_for_root_alone(peers):
    mask = os.umask(0o000)
    try:
        front = peers.front()
    finally:
        os.umask(mask)
    found = os.stat(front.path)
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600


def test_a_socket_that_cannot_be_made_is_told(tmp_path):
    with pytest.raises(Unavailable, match="cannot listen"):
        Server(str(tmp_path / "none" / "x.sock"), Router({}, Ours(), {}, None))


def test_K1_a_message_that_is_too_large_is_exhausted(peers):
    front = peers.front(ContainerStatus=always(api.ContainerStatusResponse()))
    call = front.channel.unary_unary(STATUS)
    assert refusal(lambda: call(b"\x0a" + b"\xff" * MOST_MESSAGE))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert front("ContainerStatus", REQUEST)


def test_K1_metadata_that_is_too_large_is_refused(peers):
    front = peers.front(ContainerStatus=always(api.ContainerStatusResponse()))
    with grpc.insecure_channel(f"unix://{front.path}") as channel:
        much = [("a", "x" * (1 << 20))]
        code, _ = refusal(lambda: channel.unary_unary(STATUS)(b"", metadata=much, timeout=20))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert front("ContainerStatus", REQUEST)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" * 100, b"PRI * HTT"])
def test_K1_other_protocols_and_slow_callers_hold_up_nobody(peers, noise):
    front = peers.front(ContainerStatus=always(api.ContainerStatusResponse()))
    clients = []
    for _ in range(50):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(front.path))
        client.sendall(noise)
        clients.append(client)
    assert front("ContainerStatus", REQUEST, timeout=20)
    for client in clients:
        client.close()


def test_K1_ten_thousand_calls_at_once_are_bounded(peers):
    going, peak, lock, go = [0], [0], threading.Lock(), threading.Event()

    def wait(request, context):
        with lock:
            going[0] += 1
            peak[0] = max(peak[0], going[0])
        go.wait(60)
        with lock:
            going[0] -= 1
        return api.ContainerStatusResponse()

    front = peers.front(ContainerStatus=wait)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    channels = [
        grpc.insecure_channel(f"unix://{front.path}", options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(20)
    ]
    raw = REQUEST.SerializeToString()
    calls = [channel.unary_unary(STATUS).future(raw) for channel in channels for _ in range(500)]
    go.set()
    codes = {call.exception().code() if call.exception() else None for call in calls}
    for channel in channels:
        channel.close()
    assert None in codes and grpc.StatusCode.RESOURCE_EXHAUSTED in codes
    # some are refused before they are calls, by HTTP/2, whose limit a client may not have heard of yet
    assert codes <= {
        None,
        *(grpc.StatusCode[name] for name in ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "CANCELLED")),
    }
    assert peak[0] <= MOST_CALLS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KiB
    assert front("ContainerStatus", REQUEST)


def test_a_server_that_ends_lets_calls_end(peers):
    began, go = threading.Event(), threading.Event()

    def wait(request, context):
        began.set()
        go.wait(20)
        return api.ContainerStatusResponse()

    front = peers.front(ContainerStatus=wait)
    call = front.channel.unary_unary(STATUS).future(REQUEST.SerializeToString())
    assert began.wait(20)
    stopping = threading.Thread(target=front._server.stop)
    stopping.start()
    go.set()
    assert call.result(20) == b""
    stopping.join(20)
    assert not stopping.is_alive()


def test_codes_are_for_all_kinds():
    assert CODES.keys() == errors.KINDS.keys() and issubclass(errors.Invalid, SampanError)
