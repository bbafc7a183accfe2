"""The HTTP/1.1 request before an upgrade, and the answers to it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import h11

from sampan.core.errors import Exhausted, Invalid, SampanError

SECONDS = 10.0  # for a whole request
MOST_HEAD = 32 << 10
MOST_BODY = 64 << 10  # which nobody reads


class Request(NamedTuple):
    """A request, and the connection's state that its answer needs; `headers` have their names in lower case."""

    method: bytes
    path: str
    headers: list[tuple[bytes, bytes]]
    connection: h11.Connection


async def read(reader: asyncio.StreamReader) -> Request | None:
    """The request of a client; None where it goes away or takes too long.

    Raises:
        Invalid: it is no HTTP/1.1, or too large.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
    try:
        async with asyncio.timeout(SECONDS):
            return await _read(reader, connection)
    except (TimeoutError, ConnectionError):
        return None
    except h11.RemoteProtocolError as error:
        raise Invalid(f"the request is not HTTP/1.1: {error}") from error


async def _read(reader: asyncio.StreamReader, connection: h11.Connection) -> Request | None:
    request: Request | None = None
    body = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(MOST_HEAD)
            if not data:
                return None
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            path = event.target.decode("latin-1").partition("?")[0]
            request = Request(event.method, path, list(event.headers), connection)
        elif isinstance(event, h11.Data):
            body += len(event.data)
            if body > MOST_BODY:
                raise Invalid(f"the request has a body of more than {MOST_BODY} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:
            return None


def switching(request: Request, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The answer that grants an upgrade."""
    answer = h11.InformationalResponse(status_code=101, headers=headers)
    return request.connection.send(answer) or b""


def refusal(error: SampanError) -> bytes:
    """The answer to a request that is not served; the connection ends behind it."""
    text = f"{error}\n".encode()
    status = {"NOT_FOUND": 404, "UNIMPLEMENTED": 403, "EXHAUSTED": 429, "UNAVAILABLE": 503}.get(
        error.kind, 400
    )
    lines = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(text)),
        (b"Connection", b"close"),
        *([(b"Retry-After", b"60")] if isinstance(error, Exhausted) else []),
    ]
    head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
    reason = {404: b"Not Found", 403: b"Forbidden", 429: b"Too Many Requests", 503: b"Service Unavailable"}
    return b"HTTP/1.1 %d %s\r\n" % (status, reason.get(status, b"Bad Request")) + head + b"\r\n" + text
