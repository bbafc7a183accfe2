"""Blobs and manifests to a registry: mounted from another repository, in one request, or resumed in chunks.

A blob goes in one PUT, which every registry takes. After a failure the registry is asked how much it has, and
the rest follows by PATCH in chunks (distribution specification, "Pushing a blob in chunks"). The URL of the
upload must stay on the registry: our credentials go there.
"""

from __future__ import annotations

import time
from urllib.parse import quote, urljoin, urlsplit

from sampan.core.digest import parse_digest
from sampan.core.errors import DataLoss, Denied, Exhausted, NotFound, TimedOut, Unauthenticated, Unavailable
from sampan.image.registry.client import push_scope
from sampan.image.registry.retry import Attempts, with_retries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from sampan.core.spec.image import Descriptor
    from sampan.image.registry.answer import Answer
    from sampan.image.registry.client import Client
    from sampan.image.store import ContentStore

    Advance = Callable[[int], None]

CHUNK = 8 << 20
PIECE = 256 << 10
BYTES = "application/octet-stream"


def push_blob(
    client: Client,
    repository: str,
    descriptor: Descriptor,
    store: ContentStore,
    origin: str,
    advance: Advance,
) -> str:
    """Give the repository a blob; returns how, in Docker's words ("Pushed").

    Args:
        origin: another repository of this registry that should have it, or empty.
        advance: is told how many bytes are there.

    Raises:
        DataLoss: the registry says another digest, leads elsewhere, or the store's blob has another size.
        Unauthenticated, Denied: we may not write there.
        TimedOut, Unavailable: it broke off too often.
    """
    if client.has_blob(repository, descriptor.digest, push_scope(repository)):
        return "Layer already exists"
    with store.open(descriptor.digest) as file:
        upload = _Upload(client, repository, descriptor, file, advance)
        return upload.run(origin)


def push_manifest(client: Client, repository: str, name: str, data: bytes, descriptor: Descriptor) -> None:
    """Put a manifest or index under a tag or its digest.

    Raises:
        DataLoss: the registry says another digest.
        Invalid: the registry does not take it.
        SampanError: as `push_blob`.
    """

    def work() -> None:
        url = f"{client.base}/v2/{repository}/manifests/{name}"
        headers = {"Content-Type": descriptor.media_type}
        with client.call("PUT", url, push_scope(repository), headers, data, repository=repository) as answer:
            _expect_created(answer, descriptor.digest, f"cannot push {client.endpoint.account}/{repository}")

    with_retries(client.patience, work)


class _Upload:
    def __init__(
        self, client: Client, repository: str, descriptor: Descriptor, file: BinaryIO, advance: Advance
    ) -> None:
        self.client = client
        self.repository = repository
        self.digest = parse_digest(descriptor.digest)
        self.size = descriptor.size
        self.file = file
        self.advance = advance
        self.scope = push_scope(repository)
        self.what = f"cannot push the blob {self.digest.short}"
        self.location = ""
        self.sent = 0
        self.chunk = CHUNK
        self.in_chunks = False
        if file.seek(0, 2) != self.size:
            raise DataLoss(f"the stored blob {self.digest} does not have its {self.size} bytes")

    def run(self, origin: str) -> str:
        deadline = time.monotonic() + self.client.patience.deadline
        attempts = Attempts(self.client.patience, deadline)
        furthest = 0
        while True:
            try:
                if not self.location and self._begin(origin):
                    return f"Mounted from {origin}"
                self._send()
                return "Pushed"
            except (Unavailable, TimedOut) as error:
                if self._find_again():
                    return "Pushed"
                if self.sent > furthest:
                    furthest = self.sent
                    attempts.progress()
                attempts.failed(error)
            except (Unauthenticated, Denied, NotFound):  # perhaps only of what we wanted to mount from
                if not origin:
                    raise
            except Exhausted:  # 413: something on the way takes no bodies of this size
                if self.in_chunks or self.size <= self.chunk:
                    raise
                self.in_chunks, self.location = True, ""
            origin = ""

    def _begin(self, origin: str) -> bool:
        """Open an upload; true if the registry mounted the blob instead."""
        url = f"{self.client.base}/v2/{self.repository}/blobs/uploads/"
        scope = self.scope
        if origin:
            url += f"?mount={quote(self.digest, safe='')}&from={quote(origin, safe='')}"
            scope = push_scope(self.repository, origin)
        with self._call("POST", url, {"Content-Length": "0"}, scope=scope) as answer:
            if answer.status == 201 and origin:
                return True
            if answer.status != 202:
                raise answer.failure(self.what)
            self.location = self._next(answer)
            least = answer.header("oci-chunk-min-length")
            if least.isascii() and least.isdigit() and len(least) < 12:
                self.chunk = max(CHUNK, int(least))
            self.sent = 0
            return False

    def _send(self) -> None:
        if self.in_chunks or self.sent:
            while self.sent < self.size:
                self._send_chunk()
        url = self.location + ("&" if "?" in self.location else "?") + f"digest={quote(self.digest, safe='')}"
        with self._call("PUT", url, {"Content-Type": BYTES}, self.sent, self.size) as answer:
            self._expect_known(answer)
            _expect_created(answer, self.digest, self.what)

    def _send_chunk(self) -> None:
        end = min(self.sent + self.chunk, self.size)
        headers = {"Content-Type": BYTES, "Content-Range": f"{self.sent}-{end - 1}"}
        with self._call("PATCH", self.location, headers, self.sent, end) as answer:
            self._expect_known(answer)
            if answer.status not in (202, 204):
                raise answer.failure(self.what)
            self.location = self._next(answer)
        self.sent = end

    def _expect_known(self, answer: Answer) -> None:
        if answer.status in (404, 416):
            raise Unavailable(f"{self.what}: the registry has lost this upload or its place in it")

    def _find_again(self) -> bool:
        """After a failure: true if the blob arrived all the same; else find out how to go on, or begin anew."""
        location, self.location, self.sent = self.location, "", 0
        try:
            if self.client.has_blob(self.repository, self.digest, self.scope):
                return True
            if location:
                with self._call("GET", location, {}) as answer:
                    end = answer.header("range").removeprefix("bytes=").partition("-")[2]
                    if answer.status == 204 and end.isascii() and end.isdigit() and 0 < int(end) < self.size:
                        self.location, self.sent = self._next(answer), int(end) + 1
        except (Unavailable, TimedOut, NotFound):
            pass  # the caller counts the failure that led here
        return False

    def _call(
        self, method: str, url: str, headers: dict[str, str], start: int = 0, end: int = 0, scope: str = ""
    ) -> Answer:
        """A call with the blob's bytes from `start` to `end` as its body."""

        def body() -> Iterator[bytes]:
            self.file.seek(start)
            at = start
            while at < end and (piece := self.file.read(min(PIECE, end - at))):
                yield piece
                at += len(piece)
                self.advance(at)

        if method in ("PUT", "PATCH"):
            headers = {**headers, "Content-Length": str(end - start)}
        bytes_to_send = body if end > start else None
        return self.client.call(
            method, url, scope or self.scope, headers, bytes_to_send, repository=self.repository
        )

    def _next(self, answer: Answer) -> str:
        """The `Location` of an upload, absolute; on the registry, or refused."""
        location = answer.header("location")
        if not location:
            raise DataLoss(f"{self.what}: the registry does not say where to")
        base = self.client.base
        try:
            parts = urlsplit(urljoin(answer.url, location))
            here = urlsplit(base)
            default = 443 if here.scheme == "https" else 80
            same = parts.hostname == here.hostname and (parts.port or default) == (here.port or default)
        except ValueError as error:
            raise DataLoss(f"{self.what}: the registry leads to something that is not a URL") from error
        if not same or parts.username is not None:
            raise DataLoss(f"{self.what}: the registry leads to another host, {str(parts.hostname)[:80]}")
        # behind a TLS proxy many a registry believes that it speaks http
        return parts._replace(scheme=here.scheme, netloc=here.netloc, fragment="").geturl()


def _expect_created(answer: Answer, digest: str, what: str) -> None:
    if answer.status not in (201, 204):
        raise answer.failure(what)
    said = answer.header("docker-content-digest")
    if said and said != digest and said.partition(":")[0] == digest.partition(":")[0]:
        raise DataLoss(f"{what}: the registry says it has the digest {said[:80]}, not {digest}")
