"""The serving half of `sampan.testing.registry`: one request in, one answer out, with the fault that is due."""

from __future__ import annotations

import base64
import contextlib
import http.server
import secrets
import socket
import ssl
import time
from urllib.parse import parse_qs, quote, urlsplit

from sampan.core.digest import digest_of
from sampan.core.strictjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.testing.registry import Registry


class Server(http.server.ThreadingHTTPServer):
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
        super().__init__((address, 0), Handler)

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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

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
        self.seen = registry.remember(self.command, self.path, headers)
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
