"""The runtime behind us: every call goes to it as bytes, and its answer comes back as bytes.

What it says is passed on unchanged, also what our messages do not know. The caller's deadline and metadata go with a
call, and a call whose caller is gone is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from sampan.doors.cri.errors import Refused

OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # its own limits are the ones that count
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),  # it was restarted: nobody should wait for long
]
LONGEST = 10.0 * 365 * 24 * 3600  # seconds, of a deadline that somebody meant
_OF_THIS_CONNECTION = ("user-agent", "grpc-", ":")


class Answer:
    """The answer to a call that is under way."""

    def __init__(self, future: grpc.Future[bytes], address: str) -> None:
        self._future = future
        self._address = address

    def get(self, seconds: float | None = None) -> bytes:
        """Waits for it, for so long as the caller does or some seconds.

        Raises:
            Refused: it is an error; UNAVAILABLE where it did not come.
        """
        try:
            return self._future.result(seconds)
        except grpc.FutureTimeoutError:
            self._future.cancel()
            details = f"the runtime at {self._address} did not answer within {seconds:g} seconds"
            raise Refused(grpc.StatusCode.UNAVAILABLE, details) from None
        except grpc.RpcError as error:
            raise _refusal(error, self._address) from None
        except grpc.FutureCancelledError:
            raise Refused(grpc.StatusCode.CANCELLED, "the caller is gone") from None


class Upstream:
    """A channel to the runtime at `address`, as `unix:///run/containerd/containerd.sock`. It need not be there."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.insecure_channel(address, options=OPTIONS)

    def begin(self, method: str, request: bytes, context: grpc.ServicerContext) -> Answer:
        """Sends a call of the full name `method` with one answer; does not wait for it."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method, None, None)
        future = call.future(request, timeout=_time_left(context), metadata=passed_on(context))
        _cancel_with(context, future.cancel)
        return Answer(future, self.address)

    def call(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        """The answer to a call.

        Raises:
            Refused: it is an error.
        """
        return self.begin(method, request, context).get()

    def stream(
        self, method: str, requests: Iterable[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """The answers to a call of any kind, as they come; it is cancelled when nobody reads on.

        Raises:
            Refused: it ends with an error.
        """
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(method, None, None)
        answers = call(iter(requests), timeout=_time_left(context), metadata=passed_on(context))
        _cancel_with(context, answers.cancel)
        try:
            yield from answers
        except grpc.RpcError as error:
            raise _refusal(error, self.address) from None
        finally:
            answers.cancel()

    def close(self) -> None:
        """Cancels what is under way."""
        self._channel.close()


def passed_on(context: grpc.ServicerContext) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata of a call without what belongs to the connection that it came by."""
    metadata = context.invocation_metadata()
    return tuple((key, value) for key, value in metadata if not key.startswith(_OF_THIS_CONNECTION))


def _time_left(context: grpc.ServicerContext) -> float | None:
    """Seconds, None without a deadline; gRPC has one so far away instead that it cannot count to it itself."""
    left = context.time_remaining()
    return None if left is None or left > LONGEST else left


def _cancel_with(context: grpc.ServicerContext, cancel: Callable[[], object]) -> None:
    """Cancels a call when its caller is gone."""

    def on_end() -> None:
        cancel()

    if not context.add_callback(on_end):
        cancel()


def _refusal(error: Any, address: str) -> Refused:  # a `grpc.RpcError`, which is a `grpc.Call` too
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        details = f"the runtime at {address} does not answer: {details}"
    return Refused(code, details, tuple(error.trailing_metadata() or ()))
