"""Answering a registry's challenge: Basic, or a bearer token from the token server it names.

By the Docker token specification (distribution `docs/spec/auth`): an anonymous or Basic GET, or a POST with a
refresh token. Only the scope that the call needs is asked for, whatever the challenge proposes. A token server
outside the registry's own domain is asked anonymously at most (see `redirects.may_have_credentials`).
"""

from __future__ import annotations

import time
from urllib.parse import urlencode

from sampan.core.errors import Denied, Exhausted, SampanError, Unauthenticated
from sampan.image.registry.challenge import Challenge, parse_challenges
from sampan.image.registry.credentials import Credential
from sampan.image.registry.redirects import may_have_credentials, origin, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.image.registry.answer import Answer
    from sampan.image.registry.exchange import Exchange
    from sampan.image.registry.settings import Endpoint

CLIENT_ID = "sampan"
MAX_TOKEN_ANSWER = 1 << 20
SHORTEST_LIFE = 60.0  # what the specification promises, and what a missing `expires_in` means


class Authorizer:
    """The `Authorization` headers for one registry, one per scope; usable from several threads.

    Args:
        credential: finds the user's credential for a repository; called only when the registry asks.
    """

    def __init__(
        self, exchange: Exchange, endpoint: Endpoint, credential: Callable[[str], Credential]
    ) -> None:
        import threading

        self._exchange = exchange
        self._endpoint = endpoint
        self._find = credential
        self._known: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> str:
        """The header for `scope` (several are separated by spaces); empty while none is known or it is too old."""
        value, until = self._known.get(scope, ("", 0.0))
        return value if time.monotonic() < until else ""

    def answer(self, url: str, challenges: list[str], scope: str, repository: str, used: str) -> str:
        """The header that answers a 401 of `url`, also kept for the next calls.

        Args:
            challenges: the `WWW-Authenticate` headers.
            used: the header that was refused; another thread may have replaced it meanwhile.

        Raises:
            Unauthenticated: the challenge or the token server's answer is not usable, or nothing to answer with.
            Denied: the challenge would send the credentials where they must not go.
            SampanError: the token server cannot be reached.
        """
        with self._lock:
            known = self.header(scope)
            if known and known != used:
                return known
            value, life = self._obtain(url, challenges, scope, repository)
            self._known[scope] = (value, time.monotonic() + life)
            return value

    def _obtain(self, url: str, headers: list[str], scope: str, repository: str) -> tuple[str, float]:
        found = [challenge for header in headers for challenge in parse_challenges(header)]
        by_scheme = {challenge.scheme: challenge for challenge in reversed(found)}
        credential = self._find(repository)
        host = self._endpoint.account
        if bearer := by_scheme.get("bearer"):
            if credential.registry_token:
                return f"Bearer {credential.registry_token}", SHORTEST_LIFE
            return self._token(url, bearer, credential, scope)
        if "basic" in by_scheme:
            if not credential.password:
                raise Unauthenticated(
                    f"the registry {host} asks for a user and a password", fix=_log_in(host)
                )
            return _basic(credential), float("inf")
        offered = ", ".join(sorted(by_scheme)) or "nothing"
        raise Unauthenticated(
            f"the registry {host} wants to be answered with {offered}; Bearer and Basic are known"
        )

    def _token(self, url: str, challenge: Challenge, credential: Credential, scope: str) -> tuple[str, float]:
        realm = challenge.parameters.get("realm", "")
        host = self._endpoint.account
        self._check_realm(realm, url, credential)
        query = [("service", s) for s in [challenge.parameters.get("service", "")] if s]
        query += [("scope", s) for s in scope.split()]
        headers = {"Accept": "application/json"}
        if credential.identity_token:
            form = [("grant_type", "refresh_token"), ("refresh_token", credential.identity_token)]
            form += [("client_id", CLIENT_ID), *((k, scope) if k == "scope" else (k, v) for k, v in query)]
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            answer = self._exchange.request("POST", realm, headers, urlencode(dict(form)).encode())
        else:
            if credential.password:
                headers["Authorization"] = _basic(credential)
                query.append(("account", credential.username))
            separator = "&" if "?" in realm else "?"
            answer = self._exchange.request("GET", realm + separator + urlencode(query), headers)
        with answer:
            if answer.status != 200:
                raise self._refused(answer, host)
            return _read_token(answer)

    def _check_realm(self, realm: str, url: str, credential: Credential) -> None:
        """Refuse a token server that must not be asked, or not with this credential."""
        try:
            origin(realm)
        except SampanError:
            raise Unauthenticated(
                f"the registry {self._endpoint.account} names no usable token server"
            ) from None
        if "@" in realm or "#" in realm:
            raise Denied(f"the token server {shown(realm)} has a user or a fragment in its URL")
        self._exchange.check_place(realm, url)
        if credential and not may_have_credentials(realm, url, self._endpoint.options.token_hosts):
            raise Denied(
                f"the registry {self._endpoint.account} sends its users to {shown(realm)}, which is not its own",
                fix="if that is right, name this host in token_hosts of registries.toml",
            )
        if realm.startswith("http:") and url.startswith("https:") and not credential:
            raise Denied(
                f"the registry {self._endpoint.account} sends its users to plain http: {shown(realm)}"
            )

    def _refused(self, answer: Answer, host: str) -> SampanError:
        error = answer.failure(f"the token server of {host} gives no token")
        if answer.status in (400, 401, 403):
            return Unauthenticated(error.message, fix=_log_in(host))
        return error


def _read_token(answer: Answer) -> tuple[str, float]:
    """The token and its life in seconds.

    Some servers write `token` and `access_token`, or one of them twice or empty: the first that is not empty
    counts. Nowhere else is such JSON accepted.
    """
    import json

    try:
        text = answer.body(MAX_TOKEN_ANSWER, "the token server's answer")
        pairs = json.loads(text.decode(), object_pairs_hook=list)
    except (ValueError, RecursionError, Exhausted) as error:
        raise Unauthenticated(f"{shown(answer.url)} answers with something that is not a token") from error
    if not isinstance(pairs, list) or not all(isinstance(p, tuple) for p in pairs):
        pairs = []
    tokens = [v for k, v in pairs if k in ("token", "access_token") and isinstance(v, str) and v]
    if not tokens or not tokens[0].isascii() or not tokens[0].isprintable() or " " in tokens[0]:
        raise Unauthenticated(f"{shown(answer.url)} answers without a token")
    lives = [v for k, v in pairs if k == "expires_in" and type(v) is int]
    return f"Bearer {tokens[0]}", max([SHORTEST_LIFE, *lives[:1]]) * 0.9


def _basic(credential: Credential) -> str:
    import base64

    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _log_in(host: str) -> str:
    return f"log in with: sampan login {host}"
