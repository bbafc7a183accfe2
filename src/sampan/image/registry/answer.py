"""The answer to one HTTP request: its body is read with a cap, a least speed and a deadline."""

from __future__ import annotations

import contextlib
import time

from sampan.core.errors import Exhausted, SampanError, TimedOut
from sampan.core.record import Record
from sampan.image.registry.failures import mapped, status_failure
from sampan.image.registry.redirects import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

ERROR_BODY = 64 << 10
LEAST_PROGRESS = 1024  # bytes that must arrive in each `stall` seconds


class Patience(Record):
    """How long to wait for what, in seconds; and how often to try again."""

    connect: float = 15.0
    stall: float = 30.0  # without progress in either direction
    answer: float = 60.0  # until an answer begins, or a small document is there
    deadline: float = 3600.0  # for one blob or one upload, with all its retries
    attempts: int = 5  # in a row without progress
    pause: float = 0.5  # before the second attempt; doubled for each further one, with jitter
    longest_pause: float = 10.0
    retry_after: float = 60.0  # the longest `Retry-After` that is waited for


class Answer:
    """The answer to one request; its body is still to be read. A context manager that gives the connection back."""

    def __init__(self, response: httpx2.Response, url: str, patience: Patience) -> None:
        self.status = response.status_code
        self.url = url
        self._response = response
        self._patience = patience

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back, or end it; what tearing down a broken one raises means nothing any more."""
        with contextlib.suppress(Exception):
            self._response.close()

    def drain(self) -> None:
        """Read past a short body that nobody wants, and close: the connection can then be used again."""
        with contextlib.suppress(SampanError):
            self.body(ERROR_BODY, "the answer")
        self.close()

    def header(self, name: str) -> str:
        """A header's value, empty where it is not there."""
        return str(self._response.headers.get(name, ""))

    def headers(self, name: str) -> list[str]:
        """All values of a header that may be repeated."""
        return list(self._response.headers.get_list(name))

    def pieces(self, deadline: float) -> Iterator[bytes]:
        """The body as it comes, not decoded.

        Args:
            deadline: when to give up, on the monotonic clock.

        Raises:
            TimedOut: nothing, or next to nothing, for `Patience.stall` seconds; or the deadline.
            Unavailable: the connection broke.
        """
        what = f"the answer of {shown(self.url)}"
        window, received = time.monotonic() + self._patience.stall, 0
        with mapped(self.url):
            for piece in self._response.iter_raw():
                now = time.monotonic()
                received += len(piece)
                if now > deadline:
                    raise TimedOut(f"{what} is not complete in the time allowed")
                if now > window:
                    if received < LEAST_PROGRESS:
                        raise TimedOut(f"{what} comes too slowly")
                    window, received = now + self._patience.stall, 0
                yield piece

    def body(self, limit: int, what: str) -> bytes:
        """The whole body.

        Raises:
            Exhausted: more than `limit` bytes; no more than that are read.
        """
        data = bytearray()
        for piece in self.pieces(time.monotonic() + self._patience.answer):
            data += piece
            if len(data) > limit:
                raise Exhausted(f"{what} has more than the {limit} bytes allowed")
        return bytes(data)

    def failure(self, what: str) -> SampanError:
        """The error that a status outside what was hoped for stands for, with the registry's own words."""
        return status_failure(self.status, self.url, what, self._explanation(), self.header("retry-after"))

    def _explanation(self) -> str:
        """The first error of the body (distribution specification, "Error Codes"), as `CODE: message`."""
        from sampan.core.strictjson import loads

        try:
            document = loads(self.body(ERROR_BODY, "the error"), limit=ERROR_BODY)
            first = document["errors"][0]
            return f"{first['code']}: {first.get('message') or ''}".removesuffix(": ")[:300]
        except (SampanError, KeyError, IndexError, TypeError, AttributeError):
            return ""
