"""The gRPC server: a socket, threads, and the one place where errors become codes.

Requests and answers are bytes to gRPC; the router knows what is in them. Limits are for callers that mean harm or have
a fault: the size of a message, of the metadata, how many calls there may be at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc

from sampan.core.errors import Internal, Unavailable
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.errors import CODES, Refused, explained
from sampan.doors.cri.routing.methods import METHODS
from sampan.doors.cri.routing.router import Router

log = logging.getLogger(__name__)

MOST_MESSAGE = 16 << 20  # containerd's and the kubelet's own limit
MOST_CALLS = 256  # at once; each has a thread, and the kubelet's event stream is one of them
GRACE = 5.0  # seconds that calls under way have to end
OPTIONS = [
    ("grpc.max_receive_message_length", MOST_MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    ("grpc.max_concurrent_streams", MOST_CALLS),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),
]
SERVICES = frozenset(service.full_name for service in api.DESCRIPTOR.services_by_name.values())
PRIVATE = 0o177  # of a mode: who may not connect


class Server:
    """CRI on the socket `path`, which is root's alone.

    Raises:
        Unavailable: the socket cannot be made.
    """

    def __init__(self, path: str, router: Router) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(MOST_CALLS, "cri"),
            handlers=[_Calls(router)],
            options=OPTIONS,
            maximum_concurrent_rpcs=MOST_CALLS,
        )
        before = os.umask(PRIVATE)  # no moment in which another user may connect
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError:
            raise Unavailable(f"cannot listen at {path!r}", fix="see the log") from None
        finally:
            os.umask(before)

    def start(self) -> None:
        """Answers calls from now on."""
        self._server.start()

    def stop(self) -> None:
        """Takes no more calls, and waits for those under way, the longest `GRACE` seconds."""
        self._server.stop(GRACE).wait()


class _Calls(grpc.GenericRpcHandler):
    """gRPC's way to the router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, Any]] = {
            f"/{method.containing_service.full_name}/{name}": (
                grpc.unary_stream_rpc_method_handler(_streaming(router, name))
                if method.server_streaming
                else grpc.unary_unary_rpc_method_handler(_answering(router, name))
            )
            for name, method in METHODS.items()
        }

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = call.method
        if method in self._handlers:
            return self._handlers[method]
        if method[1:].partition("/")[0] not in SERVICES:
            return None
        return grpc.stream_stream_rpc_method_handler(  # a call that is younger than we are
            lambda requests, context: _guarded(
                method, lambda: self._router.pass_on(method, requests, context), context
            )
        )


def _answering(router: Router, name: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return router.answer(name, request, context)
        except Exception as error:
            _abort(context, name, error)

    return answer


def _streaming(router: Router, name: str) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
    def answer(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        return _guarded(name, lambda: router.stream(name, request, context), context)

    return answer


def _guarded(
    name: str, answers: Callable[[], Iterator[bytes]], context: grpc.ServicerContext
) -> Iterator[bytes]:
    try:
        yield from answers()
    except Exception as error:
        _abort(context, name, error)


def _abort(context: grpc.ServicerContext, name: str, error: Exception) -> NoReturn:
    """Ends a call with an error."""
    if isinstance(error, Refused):
        context.set_trailing_metadata(error.trailers)
        log.info("%s: %s from the runtime behind us: %s", name, error.code.name, error.details)
        context.abort(error.code, error.details)
    told = explained(error)
    if isinstance(told, Internal):
        log.error("%s: %s", name, told, exc_info=error)
    else:
        log.info("%s: %s", name, told)
    context.abort(CODES[told.kind], str(told))
