"""Real gRPC on both sides of a router: a runtime behind it that answers as it is told, and a client in front."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.routing.methods import METHODS, full_name
from sampan.doors.cri.routing.router import Router
from sampan.doors.cri.routing.server import Server
from sampan.doors.cri.routing.upstream import Upstream

Answer = Callable[[Any, grpc.ServicerContext], Any]


class Behind(grpc.GenericRpcHandler):
    """A runtime at a socket. `answers`: what it does, by the name of the call; `calls`: those it was asked."""

    def __init__(self, path: Path, answers: dict[str, Answer]) -> None:
        self.address = f"unix://{path}"
        self.answers = answers
        self.calls: list[str] = []
        self._server: grpc.Server | None = None
        self.start()

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(16), handlers=[self])
        self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        name = call.method.rpartition("/")[2]
        self.calls.append(name)
        if name not in self.answers:
            return None
        answer = self.answers[name]
        if name not in METHODS:
            return grpc.unary_unary_rpc_method_handler(answer)
        method = METHODS[name]
        make = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        kind = getattr(api, method.input_type.name)
        return make(answer, kind.FromString, lambda message: message.SerializeToString())


class Ours:
    """What is ours, by names: pods `ours…`, containers `c-ours…`."""

    def has_pod(self, pod_id: str) -> bool:
        return pod_id.startswith("ours")

    def has_container(self, container_id: str) -> bool:
        return container_id.startswith("c-ours")

    def has_pod_like(self, metadata: api.PodSandboxMetadata) -> bool:
        return metadata.name == "ours"


class Front:
    """A server of ours and a client of it."""

    def __init__(self, path: Path, calls: dict[str, Answer], upstream: str = "") -> None:
        self.path = path
        self._upstream = Upstream(upstream) if upstream else None
        self._server = Server(str(path), Router({"wasm": "wasmtime"}, Ours(), calls, self._upstream))
        self._server.start()
        self.channel = grpc.insecure_channel(f"unix://{path}")

    def __call__(self, name: str, request: Any, **options: Any) -> Any:
        """The answer to a call with one answer."""
        method = METHODS[name]
        kind = getattr(api, method.output_type.name)
        call = self.channel.unary_unary(full_name(name), lambda m: m.SerializeToString(), kind.FromString)
        return call(request, **options)

    def stream(self, name: str, request: Any, **options: Any) -> Any:
        """The answers to a call with many."""
        method = METHODS[name]
        kind = getattr(api, method.output_type.name)
        call = self.channel.unary_stream(full_name(name), lambda m: m.SerializeToString(), kind.FromString)
        return call(request, **options)

    def close(self) -> None:
        self.channel.close()
        self._server.stop()
        if self._upstream is not None:
            self._upstream.close()


class Peers:
    """Makes them in one folder, and ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Behind | Front] = []

    def behind(self, **answers: Answer) -> Behind:
        behind = Behind(self._folder / f"b{len(self._made)}", answers)
        self._made.append(behind)
        return behind

    def front(self, upstream: str = "", **calls: Answer) -> Front:
        front = Front(self._folder / f"f{len(self._made)}", calls, upstream)
        self._made.append(front)
        return front

    def close(self) -> None:
        for one in reversed(self._made):
            one.stop() if isinstance(one, Behind) else one.close()


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """The code and the words that a call ends with, which must be an error."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("it went well")


def eventually(call: Callable[[], Any], seconds: float = 20) -> Any:
    """What a call gives once the runtime behind has been found again."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except grpc.RpcError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def always(message: Any) -> Answer:
    """Gives the same answer to each request."""
    return lambda request, context: message


def each(*messages: Any) -> Answer:
    """Gives the same stream to each request."""

    def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield from messages

    return answer


@pytest.fixture
def peers() -> Iterator[Peers]:
    """In a folder with a short name: sockets' paths are bounded."""
    with tempfile.TemporaryDirectory(prefix="cri-", dir="/tmp") as folder:
        peers = Peers(Path(folder))
        yield peers
        peers.close()
