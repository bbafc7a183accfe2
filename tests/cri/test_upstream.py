"""What is passed on, and comes back, as it was."""

from __future__ import annotations

import threading

import grpc
import pytest

from sampan.doors.cri.api import runtime_pb2 as api

from .peers import always, each, refusal

REQUEST = api.ContainerStatusRequest(container_id="theirs")
EXEC = api.ExecSyncRequest(container_id="theirs")


def test_bytes_that_our_messages_do_not_know_pass_both_ways(peers):
    unknown = b"\x92\x3f\x05hello"  # field 1010
    seen = []

    def answer(request, context):
        seen.append(request.SerializeToString())
        return api.ContainerStatusResponse.FromString(unknown)

    front = peers.front(peers.behind(ContainerStatus=answer).address)
    raw = front.channel.unary_unary("/runtime.v1.RuntimeService/ContainerStatus")
    request = REQUEST.SerializeToString() + unknown
    assert raw(request) == unknown and seen == [request]


def test_a_call_that_is_younger_than_we_are_is_passed_on(peers):
    front = peers.front(peers.behind(HugContainer=lambda request, context: request * 2).address)
    raw = front.channel.unary_unary("/runtime.v1.RuntimeService/HugContainer")
    assert raw(b"abc") == b"abcabc"
    for method in ("/runtime.v1.RuntimeService/KissContainer", "/other.v1.Service/HugContainer"):
        assert refusal(lambda m=method: front.channel.unary_unary(m)(b""))[0] is grpc.StatusCode.UNIMPLEMENTED
    alone = peers.front().channel.unary_unary("/runtime.v1.RuntimeService/HugContainer")
    assert refusal(lambda: alone(b""))[0] is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_errors_keep_their_code_their_words_and_their_details(peers, code):
    def fail(request, context):
        context.set_trailing_metadata([("grpc-status-details-bin", b"\x08\x05\xff")])
        context.abort(code, "a reason\nof two lines")

    front = peers.front(peers.behind(ContainerStatus=fail).address)
    with pytest.raises(grpc.RpcError) as caught:
        front("ContainerStatus", REQUEST)
    assert caught.value.code() is code
    assert caught.value.details().endswith("a reason\nof two lines")
    assert ("grpc-status-details-bin", b"\x08\x05\xff") in [*caught.value.trailing_metadata()]


def test_deadlines_and_metadata_go_with_a_call(peers):
    seen = []

    def look(request, context):
        seen.append((context.time_remaining(), dict(context.invocation_metadata())))
        return api.ContainerStatusResponse()

    front = peers.front(peers.behind(ContainerStatus=look).address)
    front("ContainerStatus", REQUEST, timeout=20, metadata=[("traceparent", "00-1"), ("a-bin", b"\xff")])
    front("ContainerStatus", REQUEST)
    (left, metadata), (forever, _) = seen
    assert 0 < left < 1000 and metadata["traceparent"] == "00-1" and metadata["a-bin"] == b"\xff"
    assert forever is None or forever > 1e8


def test_a_call_whose_caller_is_gone_is_cancelled(peers):
    began, ended = threading.Event(), threading.Event()

    def wait(request, context):
        context.add_callback(ended.set)
        began.set()
        ended.wait(20)
        return api.ExecSyncResponse()

    front = peers.front(peers.behind(ExecSync=wait).address)
    call = front.channel.unary_unary(
        "/runtime.v1.RuntimeService/ExecSync", lambda message: message.SerializeToString()
    ).future(EXEC)
    assert began.wait(20)
    call.cancel()
    assert ended.wait(20)


def test_a_call_that_lasts_too_long_ends_with_its_deadline(peers):
    over = threading.Event()

    def wait(request, context):
        over.wait(20)
        return api.ExecSyncResponse()

    front = peers.front(peers.behind(ExecSync=wait).address)
    assert refusal(lambda: front("ExecSync", EXEC, timeout=0.2))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    over.set()


def test_an_answer_of_more_than_four_megabytes_passes(peers):
    much = api.ExecSyncResponse(stdout=b"x" * (15 << 20))
    front = peers.front(peers.behind(ExecSync=always(much)).address)
    raw = front.channel.unary_unary("/runtime.v1.RuntimeService/ExecSync")
    with grpc.insecure_channel(
        f"unix://{front.path}", options=[("grpc.max_receive_message_length", 16 << 20)]
    ) as channel:
        kubelet = channel.unary_unary("/runtime.v1.RuntimeService/ExecSync")
        assert kubelet(EXEC.SerializeToString()) == much.SerializeToString()
    assert refusal(lambda: raw(EXEC.SerializeToString()))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


def event(name: str) -> api.ContainerEventResponse:
    return api.ContainerEventResponse(container_id=name)


def test_events_are_of_both_and_go_on_when_the_runtime_behind_comes_back(peers):
    go = threading.Event()

    def until_gone(context):
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait(20)

    def theirs(request, context):
        yield event("theirs")
        until_gone(context)

    def ours(request, context):
        go.wait(20)
        yield event("ours")
        until_gone(context)

    behind = peers.behind(GetContainerEvents=theirs)
    front = peers.front(behind.address, GetContainerEvents=ours)
    stream = front.stream("GetContainerEvents", api.GetEventsRequest())
    assert next(stream).container_id == "theirs"
    behind.stop()
    go.set()
    assert next(stream).container_id == "ours"
    behind.start()
    assert next(stream).container_id == "theirs"
    stream.cancel()


def test_events_are_ours_where_the_runtime_behind_has_none(peers):
    front = peers.front(peers.behind().address, GetContainerEvents=each(event("1"), event("2")))
    stream = front.stream("GetContainerEvents", api.GetEventsRequest())
    assert [one.container_id for one in stream] == ["1", "2"]


def test_K12_who_does_not_read_events_is_dropped(peers):
    enough = threading.Event()

    def flood(request, context):
        while not enough.is_set() and context.is_active():
            yield api.ContainerEventResponse(container_id="x" * 10_000)

    front = peers.front(GetContainerEvents=flood)
    stream = front.stream("GetContainerEvents", api.GetEventsRequest())

    def read():
        while True:
            next(stream)

    try:
        code, words = refusal(read)
    finally:
        enough.set()
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "not read in time" in words
