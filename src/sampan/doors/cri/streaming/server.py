"""The server that clients of exec, attach and port-forward connect to: by loopback, with a one-time token.

It is one thread with an event loop; whoever promises a stream is in another one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from sampan.core.errors import Invalid, NotFound, SampanError, Unavailable, from_os_error
from sampan.doors.cri.streaming import requests
from sampan.doors.cri.streaming.pipes import SocketPipe
from sampan.doors.cri.streaming.tokens import Tokens
from sampan.wire import upgrade

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future
    from typing import TypeVar

    from sampan.doors.cri.streaming.tokens import Promise

    T = TypeVar("T")

log = logging.getLogger(__name__)

EXEC, ATTACH, PORT_FORWARD = "exec", "attach", "portforward"
MOST_CONNECTIONS = 2048
STOP_SECONDS = 10.0


class StreamingServer:
    """Listens on `address`, HOST:PORT of the loopback; port 0 is a free one.

    Raises:
        Invalid: it is no such address: the token in a URL is all that a client needs, and it is not encrypted.
    """

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self._host, self._port = _parse(address)
        self._tokens = Tokens()
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._work: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Begins to listen.

        Raises:
            SampanError: the address cannot be listened on.
        """
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listener = socket.create_server((self._host, self._port), family=family, backlog=1024)
        except OSError as error:
            raise from_os_error(error, f"listen on {self._host}:{self._port}") from error
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="streaming", daemon=True)
        self._thread.start()
        self.submit(self._listen(listener)).result()

    def url(self, kind: str, promise: Promise) -> str:
        """Where a client finds what is promised, once, within a minute.

        Args:
            kind: EXEC, ATTACH or PORT_FORWARD.

        Raises:
            Exhausted: too many were promised that nobody has come for.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/{kind}/{self._tokens.issue(kind, promise)}"

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Has the server's loop do something; a future of `concurrent.futures`.

        Raises:
            Unavailable: the server has been closed.
        """
        tracked = self._tracked(work)
        try:
            return asyncio.run_coroutine_threadsafe(tracked, self._loop)
        except RuntimeError as error:
            tracked.close()
            work.close()
            raise Unavailable("the server for streams is closed") from error

    def close(self) -> None:
        """Stops to listen, and ends everything that is going on."""
        if self._thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(STOP_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_SECONDS)
            self._thread = None

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(_log)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _listen(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._accept, sock=listener)

    async def _tracked(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._work.add(task)
        try:
            return await work
        finally:
            self._work.discard(task)

    async def _stop(self) -> None:
        """Ends all that is going on, and waits for what must tidy up behind it."""
        if self._server is not None:
            self._server.close()
        for task in [*self._work, *self._clients]:
            task.cancel()
        end = self._loop.time() + STOP_SECONDS / 2
        while (others := asyncio.all_tasks() - {asyncio.current_task()}) and self._loop.time() < end:
            await asyncio.wait(others, timeout=0.1)
        for task in others:  # it waits for a container that may never do what it should
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = self._loop.create_task(self._client(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection; nothing that goes wrong leaves it."""
        pipe = SocketPipe(reader, writer)
        try:
            try:
                request = await requests.read(reader)
                if request is not None:
                    await self._answer(request, pipe)
            except SampanError as error:
                await pipe.write(requests.refusal(error))
            await pipe.close()
        except (OSError, asyncio.CancelledError):  # the client has gone, or the server is closed
            return
        except BaseExceptionGroup as group:
            if group.split((OSError, asyncio.CancelledError))[1] is not None:
                log.exception("a stream failed")
        except Exception:  # the outermost edge of a connection: the others must go on
            log.exception("a stream failed")
        finally:
            writer.transport.abort()

    async def _answer(self, request: requests.Request, pipe: SocketPipe) -> None:
        if request.method not in (b"GET", b"POST"):
            raise Invalid(f"{request.method.decode('latin-1')[:20]} is not a method that is served")
        kind, _, token = request.path.lstrip("/").partition("/")
        promise = self._tokens.redeem(kind, token)
        if promise is None:
            raise NotFound(
                "there is no such stream", fix="ask for a new one: it lasts a minute, for one client"
            )
        wanted = upgrade.parse(request.method, request.headers)
        is_spdy = wanted.kind == upgrade.SPDY
        protocol = upgrade.choose(
            wanted, promise.spdy if is_spdy else promise.websocket, "" if is_spdy else promise.otherwise
        )
        await pipe.write(requests.switching(request, upgrade.granted(wanted, protocol)))
        pipe.push_back(request.connection.trailing_data[0])
        serve = promise.serve_spdy if is_spdy else promise.serve_websocket
        await serve(pipe, protocol)


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise Invalid(
            f"{address[:80]!r} is not an address of the loopback", fix="write HOST:PORT, like 127.0.0.1:0"
        )
    return host, int(port)


def _log(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("%s", context.get("message"), exc_info=context.get("exception"))
