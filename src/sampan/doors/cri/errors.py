"""The one table from our kinds of error to gRPC's codes; what a caller reads of an error."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError

from sampan.core.errors import Internal, Invalid, SampanError, from_os_error

CODES = {
    "INVALID": grpc.StatusCode.INVALID_ARGUMENT,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "PRECONDITION": grpc.StatusCode.FAILED_PRECONDITION,
    "EXHAUSTED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "DATA_LOSS": grpc.StatusCode.DATA_LOSS,
    "DENIED": grpc.StatusCode.PERMISSION_DENIED,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "TIMEOUT": grpc.StatusCode.DEADLINE_EXCEEDED,
    "UNIMPLEMENTED": grpc.StatusCode.UNIMPLEMENTED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}
MISSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED})
"""The codes with which the runtime behind us says nothing about its own pods: it is away, or older than the call."""


class Refused(Exception):
    """An error of the runtime behind us, to be passed on as it is.

    Attributes:
        code: gRPC's code. details: the sentence. trailers: the metadata after it, with richer details in it.
    """

    def __init__(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str | bytes], ...] = ()
    ) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailers = trailers


def explained(error: Exception) -> SampanError:
    """The `SampanError` that a caller is told of `error`; `Internal` is a fault of ours."""
    if isinstance(error, SampanError):
        return error
    if isinstance(error, DecodeError):
        return Invalid("the request is not a message of this call")
    if isinstance(error, OSError):
        return from_os_error(error, "do this")
    return Internal(f"a fault of sampan cri: {type(error).__name__}: {error}")
