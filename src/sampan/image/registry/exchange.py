"""One bounded HTTP exchange: every wait has an end, every body a cap, every failure one of our errors.

The only module that touches the HTTP library. Redirects are followed by `Exchange.follow` alone, under the rules
of `redirects`; cookies, pooled connections and certificates are kept per origin, so nothing crosses over.
Proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`), never for this machine itself.
"""

from __future__ import annotations

import contextlib
import time

from sampan.core.errors import (
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    SampanError,
    TimedOut,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    from_os_error,
)
from sampan.core.record import Record
from sampan.image.registry.redirects import MAX_HOPS, next_hop, origin, resolve_host, shown
from sampan.image.registry.settings import Settings, is_loopback_name, registry_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from ssl import SSLContext
    from threading import Timer

    import httpx2

    from sampan.image.registry.redirects import Resolve

    Body = Callable[[], Iterable[bytes]] | bytes

ERROR_BODY = 64 << 10
LEAST_PROGRESS = 1024  # bytes that must arrive in each `stall` seconds
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


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


class Busy(Unavailable):
    """Raised for 429 and 5xx answers; `after` is what `Retry-After` says, in seconds."""

    after: float = 0.0


class Untrusted(Denied):
    """Raised when a server's certificate is not one that we trust."""


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
        with _mapped(self.url):
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
        host = origin(self.url)[1]
        said = self._explanation()
        text = f"{what}: {host} answers {self.status}" + (f" ({said})" if said else "")
        match self.status:
            case 401:
                return Unauthenticated(text, fix=f"log in with: sampan login {registry_name(self.url)}")
            case 403:
                return Denied(text)
            case 404:
                return NotFound(text)
            case 408 | 429 | 500 | 502 | 503 | 504:
                busy = Busy(text)
                busy.after = _seconds(self.header("retry-after"))
                return busy
            case 405 | 501:
                return Unimplemented(text)
            case 413:
                return Exhausted(text)
            case status if 500 <= status < 600:
                return Unavailable(text)
            case _:
                return Invalid(text)

    def _explanation(self) -> str:
        """The first error of the body (distribution specification, "Error Codes"), as `CODE: message`."""
        from sampan.core.strictjson import loads

        try:
            document = loads(self.body(ERROR_BODY, "the error"), limit=ERROR_BODY)
            first = document["errors"][0]
            return f"{first['code']}: {first.get('message') or ''}".removesuffix(": ")[:300]
        except (SampanError, KeyError, IndexError, TypeError, AttributeError):
            return ""


class Exchange:
    """The connections to all servers; usable from several threads. A context manager that closes them."""

    def __init__(
        self, settings: Settings, patience: Patience | None = None, resolve: Resolve = resolve_host
    ) -> None:
        import threading

        self.settings = settings
        self.patience = patience or Patience()
        self._resolve = resolve
        self._clients: dict[tuple[str, str, int], httpx2.Client] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def request(self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None) -> Answer:
        """Send one request and return its answer, whatever the status; no redirect is followed.

        Args:
            body: the bytes, or what gives them anew for each attempt (`headers` has their length then).

        Raises:
            TimedOut: no connection, no progress or no answer in time.
            Unavailable: the server cannot be reached or breaks off.
            Denied: TLS fails: the server is not who it should be.
            Invalid: the URL is not one.
        """
        where = origin(url)
        with _mapped(url):
            client = self._client(where)
            content = body() if callable(body) else body
            request = client.build_request(method, url, headers=dict(headers), content=content)
            longest = self.patience.deadline if callable(body) else self.patience.answer
            guard, started = self._guard(where, longest), time.monotonic()
            try:
                response = client.send(request, stream=True, auth=None, follow_redirects=False)
            except Exception as error:
                if time.monotonic() - started >= longest:
                    raise TimedOut(f"{shown(url)} does not answer in {longest:.0f} s") from error
                raise
            finally:
                guard.cancel()
        return Answer(response, url, self.patience)

    def follow(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """`request` for GET and HEAD through at most five redirects; other origins get no `Authorization`.

        Raises:
            Denied: as `redirects.next_hop`, and for a sixth redirect.
            SampanError: as `request`.
        """
        home, left = url, dict(headers)
        for _ in range(MAX_HOPS + 1):
            answer = self.request(method, url, left)
            if answer.status not in _REDIRECTS:
                return answer
            answer.drain()
            target = next_hop(url, answer.header("location"), home, self._resolve)
            if origin(target) != origin(url):
                left.pop("Authorization", None)
            url = target
        raise Denied(f"{shown(home)} redirects more than {MAX_HOPS} times")

    def check_place(self, target: str, home: str) -> None:
        """As `redirects.check_place`, for an address that an answer of `home` names."""
        from sampan.image.registry.redirects import check_place

        check_place(target, home, self._resolve)

    def _client(self, where: tuple[str, str, int]) -> httpx2.Client:
        with self._lock:
            client = self._clients.get(where)
            if client is None:
                client = self._clients[where] = self._connect(*where)
            return client

    def _connect(self, scheme: str, host: str, port: int) -> httpx2.Client:
        import httpx2

        from sampan import __version__

        timeout = httpx2.Timeout(self.patience.stall, connect=self.patience.connect, pool=None)
        try:
            return httpx2.Client(
                verify=_tls(self.settings, scheme, host, port),
                timeout=timeout,
                trust_env=not is_loopback_name(host),
                headers={"User-Agent": f"sampan/{__version__}", "Accept-Encoding": "identity"},
            )
        except ImportError as error:
            raise Unimplemented("SOCKS proxies are not supported", fix="unset ALL_PROXY") from error
        except ValueError as error:
            raise Invalid(f"the proxy in the environment cannot be used: {error}") from error

    def _guard(self, where: tuple[str, str, int], longest: float) -> Timer:
        """A timer that closes the connections to a server that sends its headers byte by byte for ever."""
        import threading

        def give_up() -> None:
            with self._lock:
                client = self._clients.pop(where, None)
            if client is not None:
                client.close()

        guard = threading.Timer(longest, give_up)
        guard.daemon = True
        guard.start()
        return guard


def _tls(settings: Settings, scheme: str, host: str, port: int) -> SSLContext:
    import ssl

    if scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust = settings.trust(host, port)
    context = ssl.create_default_context()
    if trust.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in trust.authorities:
        with _reading(path):
            context.load_verify_locations(path)
    for stem in trust.clients:
        with _reading(f"{stem}.cert"):
            context.load_cert_chain(f"{stem}.cert", f"{stem}.key")
    return context


class _reading:  # noqa: N801 - used like a function
    """Turns what goes wrong with a certificate file into our errors, naming it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        import ssl

        if isinstance(error, ssl.SSLError):
            raise Invalid(f"the certificate {self._path} cannot be read: {error.reason}") from error
        if isinstance(error, OSError):
            raise from_os_error(error, f"read the certificate {self._path}") from error


class _mapped:  # noqa: N801 - used like a function
    """Turns what the HTTP library raises into our errors, naming the URL without its secrets."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, SampanError) or not isinstance(error, Exception):
            return
        import ssl

        import httpx2

        where, reason = shown(self._url), _root(error)
        if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
            raise _tls_failure(where, reason) from error
        if isinstance(error, httpx2.TimeoutException):
            raise TimedOut(f"{where} does not answer in time") from error
        if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            raise Invalid(f"{where!r} is not a URL") from error
        # RuntimeError and ValueError: the connections were closed by another thread
        if isinstance(error, (httpx2.HTTPError, OSError, RuntimeError, ValueError)):
            said = reason.strerror if isinstance(reason, OSError) else str(reason)
            raise Unavailable(f"cannot reach {where}: {said or type(error).__name__}") from error


def _root(error: BaseException) -> BaseException:
    """The first cause of an error, which says what happened."""
    for _ in range(8):
        before = error.__cause__ or error.__context__
        if before is None:
            break
        error = before
    return error


def _tls_failure(where: str, reason: OSError) -> Denied:
    import ssl

    if isinstance(reason, ssl.SSLCertVerificationError):
        return Untrusted(
            f"{where} has a certificate that is not trusted: {reason.verify_message}",
            fix="put its CA into /etc/docker/certs.d/HOST/ca.crt, or set `ca` in registries.toml",
        )
    return Denied(
        f"{where} does not speak TLS as it should: {getattr(reason, 'reason', None) or reason}",
        fix="set plain_http in registries.toml if it speaks plain http",
    )


def _seconds(text: str) -> float:
    """`Retry-After` in seconds; a date counts as none."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
