"""A registry in memory, on a port of this machine, that can be told to misbehave.

For tests of anything that pulls or pushes:

    with Registry(users={"ann": "secret"}, auth="token") as registry:
        registry.add_image("team/hello", "v1", [layer])
        registry.fault(Fault("/blobs/", cut_at=65536))
        ...
        assert registry.seen("GET", "/blobs/")[1].headers["range"] == "bytes=65536-"

It speaks the OCI distribution specification 1.1 as far as pulling and pushing need it, checks digests, tokens
and scopes like a real one, and keeps every request for assertions. It keeps nothing on disk.
"""

from __future__ import annotations

import threading

from sampan.core.digest import digest_of
from sampan.core.record import Record
from sampan.core.spec.image import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest
from sampan.core.strictjson import dumps
from sampan.testing.registry_server import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

PIECE = 64 << 10


class Fault(Record):
    """One way to misbehave, for requests whose path has `path` in it; the first fault that fits is used."""

    path: str = ""
    method: str = ""
    times: int = 1  # how often; below zero: always
    status: int = 0  # answer this, with `body`
    body: bytes = b""
    headers: dict[str, str] = {}  # added to the answer, in place of its own; an empty value takes one away
    cut_at: int = -1  # close the connection after so many bytes of the body
    corrupt: bool = False  # turn one bit of the body over
    piece: int = PIECE  # the body comes in pieces of so many bytes
    pause: float = 0.0  # with so many seconds before each
    chunked: bool = False  # in chunked coding
    hang_up: bool = False  # close the connection without an answer
    swallow: int = -1  # of an upload, take so many bytes, then close the connection


class Seen(Record):
    """One request: the header names in lower case, and the status it got (0: none)."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0


class Registry:
    """The registry; serves from `__enter__` to `__exit__`.

    Args:
        auth: "none", "basic", or "token" (its own token server at `/token`; anonymous users may pull).
        users: passwords by name.
        certificate: files with a certificate chain and its key, for https.
        ranges: answer `Range` requests; else they get the whole blob.
        mounts: mount blobs from other repositories.
        chunk_minimum: the `OCI-Chunk-Min-Length` that uploads must keep.
        body_limit: refuse larger uploads in one request with 413; 0 for none.
        tag_page: how many tags a page has.
        address: where to listen; any of 127.0.0.0/8, so that there can be several hosts.
    """

    def __init__(
        self,
        *,
        auth: str = "none",
        users: dict[str, str] | None = None,
        certificate: tuple[str, str] | None = None,
        ranges: bool = True,
        mounts: bool = True,
        chunk_minimum: int = 0,
        body_limit: int = 0,
        tag_page: int = 100,
        address: str = "127.0.0.1",
    ) -> None:
        self.auth = auth
        self.users = users or {}
        self.ranges = ranges
        self.mounts = mounts
        self.chunk_minimum = chunk_minimum
        self.body_limit = body_limit
        self.tag_page = tag_page
        self.identity_tokens: set[str] = set()
        self.challenge = ""  # in place of its own
        self.token_answer = b'{"token":"%s","expires_in":300}'  # `%s` is where the token goes
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, tuple[bytes, str]]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.ended: set[str] = set()  # uploads after a chunk below the minimum, which only the last may be
        self.tokens: dict[str, list[str]] = {}
        self.lock = threading.RLock()
        self._server = Server(self, certificate, address)
        self.host = f"{address}:{self._server.server_address[1]}"
        self.scheme = "https" if certificate else "http"
        self.url = f"{self.scheme}://{self.host}"

    def __enter__(self) -> Self:
        # a short poll: closing a registry is not what a test should wait for
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add_blob(self, repository: str, data: bytes, media_type: str = OCI_LAYER_GZIP) -> Descriptor:
        """Put a blob in; returns its descriptor."""
        digest = digest_of(data)
        with self.lock:
            self.blobs.setdefault(repository, {})[digest] = data
        return Descriptor(media_type, digest, len(data))

    def add_manifest(
        self, repository: str, tag: str, data: bytes, media_type: str = OCI_MANIFEST
    ) -> Descriptor:
        """Put a manifest or index in, under its digest and (unless empty) a tag; unchecked."""
        digest = digest_of(data)
        with self.lock:
            names = self.manifests.setdefault(repository, {})
            names[digest] = (data, media_type)
            if tag:
                names[tag] = (data, media_type)
        return Descriptor(media_type, digest, len(data))

    def add_image(
        self,
        repository: str,
        tag: str,
        layers: list[bytes],
        config: bytes = b"{}",
        config_type: str = OCI_CONFIG,
    ) -> Descriptor:
        """Put an image of these layers in; returns its manifest's descriptor."""
        manifest = Manifest(
            2,
            self.add_blob(repository, config, config_type),
            [self.add_blob(repository, layer) for layer in layers],
            OCI_MANIFEST,
        )
        return self.add_manifest(repository, tag, dumps(manifest))

    def fault(self, *faults: Fault) -> None:
        """Misbehave from now on as told."""
        with self.lock:
            self.faults += faults

    def seen(self, method: str = "", path: str = "") -> list[Seen]:
        """The requests so far whose path has `path` in it, in order."""
        with self.lock:
            return [r for r in self.requests if method in ("", r.method) and path in r.path]

    def remember(self, method: str, path: str, headers: dict[str, str]) -> Seen:
        """Note a request that came in."""
        seen = Seen(method, path, headers)
        with self.lock:
            self.requests.append(seen)
        return seen

    def take_fault(self, method: str, path: str) -> Fault:
        """The fault for one request, used up by it; an empty one if there is none."""
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method in ("", method) and fault.path in path:
                    fault.times -= 1
                    return fault
        return Fault()
