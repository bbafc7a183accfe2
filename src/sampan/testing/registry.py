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

import base64
import contextlib
import http.server
import secrets
import socket
import ssl
import threading
import time
from urllib.parse import parse_qs, quote, urlsplit

from sampan.core.digest import digest_of
from sampan.core.record import Record
from sampan.core.spec.image import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest
from sampan.core.strictjson import dumps

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
        self._server = _Server(self, certificate, address)
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

    def take_fault(self, method: str, path: str) -> Fault:
        """The fault for one request, used up by it; an empty one if there is none."""
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method in ("", method) and fault.path in path:
                    fault.times -= 1
                    return fault
        return Fault()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, registry: Registry, certificate: tuple[str, str] | None, address: str) -> None:
        self.registry = registry
        self.open: set[socket.socket] = set()
        self.context: ssl.SSLContext | None = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        super().__init__((address, 0), _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self.context:  # the handshake is made by the connection's own thread, at its first read
            connection = self.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self.open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients break off: nothing to say."""


class _Cut(Exception):
    """The connection shall be closed now."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Requests are kept in `Registry.requests`."""

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the base class's names

    def _serve(self) -> None:
        registry = self.server.registry
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.seen = Seen(self.command, self.path, headers)
        with registry.lock:
            registry.requests.append(self.seen)
        self.fault = registry.take_fault(self.command, self.path)
        self.left = int(headers.get("content-length", "0"))
        try:
            if self.fault.hang_up:
                raise _Cut
            if self.fault.status:
                self._answer(self.fault.status, self.fault.body)
            else:
                self._route()
        except _Cut:
            self.close_connection = True

    def _route(self) -> None:
        url = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path == "/token":
            return self._token()
        if url.path == "/v2/":
            return self._answer(200, b"{}") if self._allowed("") else self._challenge("")
        for kind in ("/blobs/uploads/", "/blobs/", "/manifests/", "/tags/"):
            repository, found, name = url.path.removeprefix("/v2/").partition(kind)
            if found and url.path.startswith("/v2/"):
                break
        else:
            return self._error(404, "NOT_FOUND", "no such path")
        right = "pull" if self.command in ("GET", "HEAD") and kind != "/blobs/uploads/" else "push"
        scope = f"repository:{repository}:{right}"
        if not self._allowed(scope):
            return self._challenge(scope)
        serve = {
            "/blobs/uploads/": self._upload,
            "/blobs/": self._blob,
            "/manifests/": self._manifest,
            "/tags/": self._tags,
        }[kind]
        return serve(repository, name)

    # who may what

    def _user(self) -> str | None:
        """The user of a Basic header; empty without one, None for a wrong one."""
        registry = self.server.registry
        scheme, _, text = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return ""
        name, _, password = base64.b64decode(text).decode().partition(":")
        return name if name and registry.users.get(name) == password else None

    def _allowed(self, scope: str) -> bool:
        registry = self.server.registry
        if registry.auth == "none":
            return True
        if registry.auth == "basic":
            return bool(self._user())
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return token in registry.tokens and (not scope or scope in registry.tokens[token])

    def _challenge(self, scope: str) -> None:
        registry = self.server.registry
        text = 'Basic realm="registry"'
        if registry.auth == "token":
            text = f'Bearer realm="{registry.url}/token",service="registry",scope="{scope}"'
        headers = {"WWW-Authenticate": registry.challenge or text}
        self._answer(401, _errors("UNAUTHORIZED", "authentication required"), headers)

    def _token(self) -> None:
        registry = self.server.registry
        wanted = parse_qs(urlsplit(self.path).query).get("scope", [])
        if self.command == "POST":
            form = {k: v[0] for k, v in parse_qs(self.rfile.read(self.left).decode()).items()}
            self.left = 0
            user: str | None = "someone" if form.get("refresh_token") in registry.identity_tokens else None
            wanted = form.get("scope", "").split()
        else:
            user = self._user()
        if user is None:
            return self._error(401, "UNAUTHORIZED", "wrong user or password")
        granted = []
        for scope in wanted:
            kind, _, rest = scope.partition(":")
            name, _, rights = rest.rpartition(":")
            granted += [f"{kind}:{name}:{r}" for r in rights.split(",") if user or r == "pull"]
        token = secrets.token_hex(8)
        with registry.lock:
            registry.tokens[token] = granted
        headers = {"Content-Type": "application/json"}
        return self._answer(200, registry.token_answer.replace(b"%s", token.encode()), headers)

    # content

    def _manifest(self, repository: str, name: str) -> None:
        registry = self.server.registry
        if self.command == "PUT":
            data = self._read_all()
            if ":" in name and digest_of(data) != name:
                return self._error(400, "DIGEST_INVALID", "not its digest")
            media_type = self.headers.get("Content-Type", "")
            found = registry.add_manifest(repository, "" if ":" in name else name, data, media_type)
            headers = {
                "Location": f"/v2/{repository}/manifests/{name}",
                "Docker-Content-Digest": found.digest,
            }
            return self._answer(201, b"", headers)
        data, media_type = registry.manifests.get(repository, {}).get(name, (b"", ""))
        if not media_type:
            return self._error(404, "MANIFEST_UNKNOWN", f"no manifest {name}")
        return self._answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)})

    def _blob(self, repository: str, name: str) -> None:
        registry = self.server.registry
        data = registry.blobs.get(repository, {}).get(name)
        if data is None:
            return self._error(404, "BLOB_UNKNOWN", f"no blob {name}")
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": name}
        first = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        if registry.ranges and first:
            start = int(first)
            if start >= len(data):
                return self._error(416, "RANGE_INVALID", "past the end")
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._answer(206, data[start:], headers)
        return self._answer(200, data, headers)

    def _tags(self, repository: str, name: str) -> None:
        registry = self.server.registry
        if repository not in registry.manifests:
            return self._error(404, "NAME_UNKNOWN", f"no repository {repository}")
        tags = sorted(
            t for t in registry.manifests[repository] if ":" not in t and t > self.query.get("last", "")
        )
        page = tags[: registry.tag_page]
        more = f'</v2/{repository}/tags/list?last={quote(page[-1])}>; rel="next"' if tags[len(page) :] else ""
        return self._answer(200, dumps({"name": repository, "tags": page}), {"Link": more})

    def _upload(self, repository: str, name: str) -> None:
        registry = self.server.registry
        if self.command == "POST":
            return self._begin_upload(repository)
        upload = registry.uploads.get(name)
        if upload is None:
            self._read_all()
            return self._error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{name}", "Docker-Upload-UUID": name}
        if self.command == "GET":
            return self._answer(204, b"", {**headers, "Range": f"0-{max(0, len(upload) - 1)}"})
        if registry.body_limit and self.left > registry.body_limit:
            self.close_connection = True
            return self._error(413, "SIZE_INVALID", "too large")
        if self.command == "PATCH":
            return self._append(name, headers)
        upload += self._read_all(upload)
        digest = self.query.get("digest", "")
        if digest_of(bytes(upload)) != digest:
            return self._error(400, "DIGEST_INVALID", "not its digest")
        registry.add_blob(repository, bytes(upload))
        del registry.uploads[name]
        headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
        return self._answer(201, b"", headers)

    def _begin_upload(self, repository: str) -> None:
        registry = self.server.registry
        digest, source = self.query.get("mount", ""), self.query.get("from", "")
        data = registry.blobs.get(source, {}).get(digest)
        if registry.mounts and data is not None and self._allowed(f"repository:{source}:pull"):
            registry.add_blob(repository, data)
            headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
            return self._answer(201, b"", headers)
        name = secrets.token_hex(8)
        with registry.lock:
            registry.uploads[name] = bytearray()
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{name}", "Docker-Upload-UUID": name}
        if registry.chunk_minimum:
            headers["OCI-Chunk-Min-Length"] = str(registry.chunk_minimum)
        return self._answer(202, b"", headers)

    def _append(self, name: str, headers: dict[str, str]) -> None:
        registry = self.server.registry
        upload, length = registry.uploads[name], self.left
        start = self.headers.get("Content-Range", f"{len(upload)}-").partition("-")[0]
        if int(start) != len(upload) or name in registry.ended:
            self._read_all()
            return self._error(
                416, "BLOB_UPLOAD_INVALID", "out of order, or after a chunk that was too small"
            )
        upload += self._read_all(upload)
        if length < registry.chunk_minimum:
            registry.ended.add(name)
        return self._answer(202, b"", {**headers, "Range": f"0-{len(upload) - 1}"})

    def _read_all(self, kept: bytearray | None = None) -> bytes:
        """The request's body; with a fault, only its beginning, which stays in `kept`."""
        if self.fault.swallow >= 0:
            data = self.rfile.read(min(self.left, self.fault.swallow))
            if kept is not None:
                kept += data
            raise _Cut
        data = self.rfile.read(self.left)
        self.left = 0
        return data

    # answers

    def _error(self, status: int, code: str, message: str) -> None:
        self._answer(status, _errors(code, message))

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        fault = self.fault
        if self.left:
            self.close_connection = True  # what was not read would be taken for the next request
        if fault.corrupt and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        all_headers = {"Content-Length": str(len(body)), **(headers or {})}
        if fault.chunked:
            del all_headers["Content-Length"]
            all_headers["Transfer-Encoding"] = "chunked"
        if status == 204:
            all_headers.pop("Content-Length", None)
        all_headers.update(fault.headers)
        self.seen.status = status
        self.send_response(status)
        for name, value in all_headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(body)

    def _send(self, body: bytes) -> None:
        fault = self.fault
        end = len(body) if fault.cut_at < 0 else min(fault.cut_at, len(body))
        for at in range(0, end, fault.piece):
            if fault.pause:
                time.sleep(fault.pause)
            piece = body[at : min(at + fault.piece, end)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if fault.chunked else piece)
        if fault.cut_at >= 0:
            raise _Cut
        if fault.chunked:
            self.wfile.write(b"0\r\n\r\n")


def _errors(code: str, message: str) -> bytes:
    return dumps({"errors": [{"code": code, "message": message}]})
