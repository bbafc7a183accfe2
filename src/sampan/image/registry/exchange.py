"""One bounded HTTP exchange: every wait has an end, every body a cap, every failure one of our errors.

Redirects are followed by `Exchange.follow` alone, under the rules of `redirects`; cookies, pooled connections and
certificates are kept per origin, so nothing crosses over. Proxies come from the environment (`HTTPS_PROXY`,
`NO_PROXY`), never for this machine itself.
"""

from __future__ import annotations

import time

from sampan.core.errors import Denied, Invalid, TimedOut, Unimplemented
from sampan.image.registry.answer import Answer, Patience
from sampan.image.registry.failures import mapped
from sampan.image.registry.redirects import MAX_HOPS, check_place, next_hop, origin, resolve_host, shown
from sampan.image.registry.settings import Settings, is_loopback_name
from sampan.image.registry.tls import tls_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from threading import Timer

    import httpx2

    from sampan.image.registry.redirects import Resolve

    Body = Callable[[], Iterable[bytes]] | bytes

_REDIRECTS = frozenset((301, 302, 303, 307, 308))


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
        with mapped(url):
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
                verify=tls_context(self.settings, scheme, host, port),
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
