"""One registry server: the calls of the OCI distribution specification that reading needs.

Every manifest is checked against its digest, every body has a cap, every failure that may pass is tried again.
Foreign layer URLs (`urls`) are never followed.
"""

from __future__ import annotations

from sampan.core.digest import Digest, digest_of, parse_digest
from sampan.core.errors import DataLoss, Invalid, SampanError
from sampan.core.spec.image import Descriptor
from sampan.core.strictjson import MAX_BYTES, loads
from sampan.image.registry.auth import Authorizer
from sampan.image.registry.documents import ACCEPT, KNOWN, media_type_of, verify
from sampan.image.registry.failures import Untrusted
from sampan.image.registry.retry import with_retries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sampan.image.registry.answer import Answer
    from sampan.image.registry.credentials import Credential
    from sampan.image.registry.exchange import Body, Exchange
    from sampan.image.registry.settings import Endpoint

MAX_TAG_PAGES = 1000


class Client:
    """The calls of one server; usable from several threads.

    Args:
        credential: finds the user's credential for a repository of it.
    """

    def __init__(
        self, endpoint: Endpoint, exchange: Exchange, credential: Callable[[str], Credential]
    ) -> None:
        self.endpoint = endpoint
        self.exchange = exchange
        self.patience = exchange.patience
        self._authorizer = Authorizer(exchange, endpoint, credential)
        self._base = f"{endpoint.schemes[0]}://{endpoint.host}" if len(endpoint.schemes) == 1 else ""

    @property
    def base(self) -> str:
        """Scheme and host. A server on this machine is tried with https first, then with http, as Docker does."""
        if not self._base:
            self._base = self._find_base()
        return self._base

    def call(
        self,
        method: str,
        url: str,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        repository: str = "",
    ) -> Answer:
        """One request in the user's name; a 401 is answered once. Redirects are followed for GET and HEAD.

        Args:
            url: absolute, at this server.

        Raises:
            SampanError: as `Exchange` and `Authorizer`; a status is no error here.
        """
        authorization = self._authorizer.header(scope)
        answer = self._send(method, url, headers, body, authorization)
        if answer.status != 401 or not answer.url.startswith(f"{self.base}/"):
            return answer
        answer.drain()
        challenges = answer.headers("www-authenticate")
        authorization = self._authorizer.answer(answer.url, challenges, scope, repository, authorization)
        return self._send(method, url, headers, body, authorization)

    def check_login(self) -> None:
        """See whether the server accepts the user's credential.

        Raises:
            Unauthenticated: it does not.
            SampanError: it cannot be asked, or is no registry.
        """
        host = self.endpoint.account
        with self.call("GET", f"{self.base}/v2/", "") as answer:
            if answer.status != 200:
                raise answer.failure(f"cannot log in to {host}")

    def resolve(self, repository: str, wanted: str) -> Descriptor:
        """What a tag or digest stands for now, by HEAD; by GET where the server's answer to that lacks something.

        Raises:
            NotFound: it is not there.
            Unauthenticated, Denied: we may not see it.
        """

        def work() -> Descriptor | None:
            with self._manifest_call("HEAD", repository, wanted) as answer:
                if answer.status != 200:
                    raise answer.failure(self._name(repository, wanted))
                return _described(answer)

        found = with_retries(self.patience, work)
        if found is None or (":" in wanted and found.digest != wanted):
            found, _ = self.manifest(repository, wanted)
        return found

    def manifest(self, repository: str, wanted: str) -> tuple[Descriptor, bytes]:
        """The manifest or index of a tag or digest, checked, and its descriptor.

        Raises:
            NotFound: it is not there.
            DataLoss: the bytes do not have the digest that was asked for, or that the server says.
            Exhausted: more than 4 MiB.
            Invalid: not one document of one kind.
        """

        def work() -> tuple[Descriptor, bytes]:
            what = self._name(repository, wanted)
            with self._manifest_call("GET", repository, wanted) as answer:
                if answer.status != 200:
                    raise answer.failure(what)
                data = answer.body(MAX_BYTES, what)
                said = answer.header("docker-content-digest")
                digest = parse_digest(wanted) if ":" in wanted else _said_digest(said) or digest_of(data)
                verify(data, digest, what)
                media_type = media_type_of(data, answer.header("content-type"), what)
                return Descriptor(media_type, digest, len(data)), data

        return with_retries(self.patience, work)

    def has_blob(self, repository: str, digest: str, scope: str) -> bool:
        """Whether the repository has a blob."""

        def work() -> bool:
            url = f"{self.base}/v2/{repository}/blobs/{digest}"
            with self.call("HEAD", url, scope, repository=repository) as answer:
                if answer.status not in (200, 404):
                    raise answer.failure(f"blob {digest[:19]}")
                return answer.status == 200

        return with_retries(self.patience, work)

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository, in the server's order.

        Raises:
            NotFound: there is no such repository.
            Invalid: the answer is not a list of tags.
        """
        tags: list[str] = []
        path = f"/v2/{repository}/tags/list"
        what = f"the tags of {self.endpoint.account}/{repository}"
        for _ in range(MAX_TAG_PAGES):
            data, path = self._tag_page(path, repository, what)
            document = loads(data, what=what)
            page = document.get("tags") if isinstance(document, dict) else 0
            if page is not None and not (isinstance(page, list) and all(isinstance(t, str) for t in page)):
                raise Invalid(f"{what} are not a list of texts")
            tags += page or []
            if not path:
                return tags
        raise Invalid(f"{what} do not end")

    def _tag_page(self, path: str, repository: str, what: str) -> tuple[bytes, str]:
        """One page, and the path of the next one."""

        def work() -> tuple[bytes, str]:
            with self.call("GET", self.base + path, pull_scope(repository), repository=repository) as answer:
                if answer.status != 200:
                    raise answer.failure(what)
                return answer.body(MAX_BYTES, what), _next_page(answer.header("link"), self.base)

        return with_retries(self.patience, work)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: Body | None, authorization: str
    ) -> Answer:
        all_headers = dict(headers or {})
        if authorization:
            all_headers["Authorization"] = authorization
        if method in ("GET", "HEAD"):
            return self.exchange.follow(method, url, all_headers)
        return self.exchange.request(method, url, all_headers, body)

    def _manifest_call(self, method: str, repository: str, wanted: str) -> Answer:
        url = f"{self.base}/v2/{repository}/manifests/{wanted}"
        return self.call(method, url, pull_scope(repository), {"Accept": ACCEPT}, repository=repository)

    def _name(self, repository: str, wanted: str) -> str:
        separator = "@" if ":" in wanted else ":"
        return f"{self.endpoint.account}/{repository}{separator}{wanted}"

    def _find_base(self) -> str:
        *first, last = self.endpoint.schemes
        for scheme in first:
            base = f"{scheme}://{self.endpoint.host}"
            try:
                self.exchange.request("GET", f"{base}/v2/", {}).close()
                return base
            except Untrusted:
                raise
            except SampanError:
                continue
        return f"{last}://{self.endpoint.host}"


def pull_scope(repository: str) -> str:
    """The one right that reading needs."""
    return f"repository:{repository}:pull"


def push_scope(repository: str, source: str = "") -> str:
    """The rights that writing needs; and reading `source`, to mount from it."""
    scope = f"repository:{repository}:pull,push"
    return f"{scope} {pull_scope(source)}" if source else scope


def _described(answer: Answer) -> Descriptor | None:
    """The descriptor that the headers of a HEAD give, if they do."""
    digest = _said_digest(answer.header("docker-content-digest"))
    length = answer.header("content-length")
    media_type = answer.header("content-type").partition(";")[0].strip()
    if digest is None or not (length.isascii() and length.isdigit() and len(length) < 19) or not media_type:
        return None
    return Descriptor(media_type, digest, int(length)) if media_type in KNOWN else None


def _said_digest(text: str) -> Digest | None:
    try:
        return parse_digest(text) if text else None
    except SampanError as error:
        raise DataLoss(f"the registry says a digest that is none: {text[:80]!r}") from error


def _next_page(link: str, base: str) -> str:
    """The path of `Link: </v2/...>; rel="next"`; only one on the same server is followed."""
    target, bracket, rest = link.partition(">")
    target = target.strip().removeprefix("<").removeprefix(base)
    if not bracket or "next" not in rest or not target.startswith("/v2/"):
        return ""
    return target
