"""Exec and attach: Kubernetes' remote command protocols, channel.k8s.io to v5.channel.k8s.io.

Each of a process's streams is a stream of the connection; besides there is one for the error, and from version 3 on one
for the terminal's size. Version 4 says how it ended as a `Status` of Kubernetes' API, with the exit code in it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from sampan.core.errors import Internal, SampanError
from sampan.doors.cri.streaming.spdy import SpdySession
from sampan.doors.cri.streaming.websocket import VERSION_5, ChannelSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sampan.doors.cri.streaming.pipes import Pipe
    from sampan.doors.cri.streaming.streams import Stream

    Run = Callable[["Streams"], Awaitable[int]]

log = logging.getLogger(__name__)

VERSION_4 = "v4.channel.k8s.io"
VERSION_3 = "v3.channel.k8s.io"
VERSION_1 = "channel.k8s.io"
ERROR, STDIN, STDOUT, STDERR, RESIZE = "error", "stdin", "stdout", "stderr", "resize"
CHANNELS = (STDIN, STDOUT, STDERR, ERROR, RESIZE)
OPENING_SECONDS = 30.0  # for a client to open its streams
MOST_SIZE = 4096  # bytes of a message with a terminal's size


class Wish(NamedTuple):
    """Which streams there are."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Size(NamedTuple):
    """A terminal's, in characters."""

    rows: int
    columns: int


class Streams:
    """What a process gets of a client; None for what it did not ask for."""

    def __init__(self, streams: dict[str, Stream]) -> None:
        self.stdin = streams.get(STDIN)
        self.stdout = streams.get(STDOUT)
        self.stderr = streams.get(STDERR)
        self._resize = streams.get(RESIZE)

    async def sizes(self) -> AsyncIterator[Size]:
        """The terminal's size, each time that it changes; garbage ends it."""
        decoder, text = json.JSONDecoder(), ""
        while self._resize is not None and (data := await self._resize.read()):
            text += data.decode("latin-1")
            while text := text.lstrip():
                try:
                    value, end = decoder.raw_decode(text)
                except (ValueError, RecursionError):
                    break
                text = text[end:]
                size = _size_of(value)
                if size is not None:
                    yield size
            if len(text) > MOST_SIZE:
                self._resize.ignore_input()
                return


class RemoteCommand:
    """A promised exec or attach.

    Args:
        run: gives a process the streams, and returns its exit code; it is cancelled when the client goes away.
    """

    spdy = (VERSION_4, VERSION_3, "v2.channel.k8s.io", VERSION_1)
    websocket = (VERSION_5, VERSION_4, "v4.base64.channel.k8s.io", VERSION_1, "base64.channel.k8s.io")
    otherwise = VERSION_1  # what a client speaks that names nothing

    def __init__(self, wish: Wish, run: Run) -> None:
        self._wish = wish
        self._run = run

    async def serve_spdy(self, pipe: Pipe, protocol: str) -> None:
        """Serves a client to its end; the caller cancels it when the process should go sooner."""
        session = SpdySession(pipe)
        async with while_there(session.serve()):
            has_size = self._wish.tty and protocol in (VERSION_4, VERSION_3)
            streams = await _open(session, self._names(has_size=has_size))
            if streams is not None:
                await self._finish(streams, with_code=protocol == VERSION_4)
                await session.finish()

    async def serve_websocket(self, pipe: Pipe, protocol: str) -> None:
        """As `serve_spdy`, over WebSocket."""
        session = ChannelSession(pipe, protocol, len(CHANNELS))
        async with while_there(session.serve()):
            names = self._names(has_size=self._wish.tty)
            streams: dict[str, Stream] = {}
            for name, channel in zip(CHANNELS, session.channels, strict=True):
                if name in names:
                    streams[name] = channel
                if name not in names or name not in (STDIN, RESIZE):
                    channel.ignore_input()
            first = next(name for name in (STDOUT, STDERR, ERROR) if name in streams)
            await streams[first].write(b"")  # tells the client that it stands
            await self._finish(streams, with_code=protocol.startswith(("v4.", "v5.")))
            await session.finish()

    def _names(self, *, has_size: bool) -> set[str]:
        wish = self._wish
        wanted = {ERROR: True, STDIN: wish.stdin, STDOUT: wish.stdout, STDERR: wish.stderr, RESIZE: has_size}
        return {name for name, is_wanted in wanted.items() if is_wanted}

    async def _finish(self, streams: dict[str, Stream], *, with_code: bool) -> None:
        """Runs the process, and tells how it ended."""
        try:
            status = _status_of(await self._run(Streams(streams)))
        except SampanError as error:
            status = _failure(error)
        except (OSError, MemoryError) as error:
            status = _failure(Internal(f"the streams of the process failed: {error}"))
        if with_code:
            await streams[ERROR].write(json.dumps(status).encode())
        elif status["status"] != "Success":
            await streams[ERROR].write(str(status["message"]).encode())


class while_there:  # noqa: N801 - read as a phrase
    """Serves a client in the background; what is done meanwhile is cancelled when it goes away."""

    def __init__(self, serving: Awaitable[None]) -> None:
        self._serving = asyncio.ensure_future(serving)
        self._left = False

    async def __aenter__(self) -> None:
        work = asyncio.current_task()
        assert work is not None

        def leave(_: object) -> None:
            if not self._left:
                work.cancel()

        self._serving.add_done_callback(leave)

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        self._serving.cancel()
        try:
            await self._serving
        except (asyncio.CancelledError, ConnectionError):
            pass


async def _open(session: SpdySession, names: set[str]) -> dict[str, Stream] | None:
    """The streams that the client should open, by their names; None where it does not do so in time."""
    streams: dict[str, Stream] = {}
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            async for stream in session.opened():
                name = stream.headers.get("streamtype", "")
                if name not in names or name in streams:
                    await stream.reset()
                    continue
                if name not in (STDIN, RESIZE):
                    stream.ignore_input()
                streams[name] = stream
                await session.accept(stream)
                if streams.keys() == names:
                    session.refuse_more()
                    return streams
    except TimeoutError:
        log.warning("a client did not open its streams within %d seconds", OPENING_SECONDS)
    return None


def _size_of(value: object) -> Size | None:
    match value:
        case {"Height": int(rows), "Width": int(columns)} if 0 <= rows <= 0xFFFF and 0 <= columns <= 0xFFFF:
            return Size(rows, columns)
    return None


def _status_of(code: int) -> dict[str, object]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure(error: SampanError) -> dict[str, object]:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"{error} ({error.kind})",
        "reason": "InternalError",
        "code": 500,
    }
