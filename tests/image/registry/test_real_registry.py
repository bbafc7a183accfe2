"""Debian's docker-registry with TLS and passwords, and skopeo reading what we push."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from sampan.core.errors import Unauthenticated
from sampan.core.reference import parse_reference
from sampan.core.spec.image import (
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    WASM_TO_OCI_CONFIG,
    WASM_TO_OCI_LAYER,
    Manifest,
)
from sampan.core.strictjson import dumps, loads
from sampan.image.registry.credentials import Credential

from .conftest import User

PROGRAM = shutil.which("docker-registry")
SKOPEO = shutil.which("skopeo")
needs_registry = pytest.mark.skipif(PROGRAM is None, reason="docker-registry is not installed")
needs_skopeo = pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed")

CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{host}", secret: s, tls: {{certificate: {folder}/server.crt, key: {folder}/server.key}}}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""
HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"  # "secret"


class Server(NamedTuple):
    """A running registry: `127.0.0.1:PORT`, and the `certs.d` folder that has its CA."""

    host: str
    certificates: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert PROGRAM is not None
    folder = tmp_path_factory.mktemp("registry")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "server.key")
    issued.cert_chain_pems[0].write_to_path(folder / "server.crt")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "certs.d" / host).mkdir(parents=True)
    authority.cert_pem.write_to_path(folder / "certs.d" / host / "ca.crt")
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, host=host))
    log = (folder / "log").open("w")
    process = subprocess.Popen([PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        wait_for(host, process)
        yield Server(host, str(folder / "certs.d"))
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def wait_for(host: str, process: subprocess.Popen[bytes]) -> None:
    name, _, port = host.partition(":")
    until = time.monotonic() + 20
    while True:
        assert process.poll() is None, "docker-registry did not start"
        try:
            socket.create_connection((name, int(port)), 1).close()
            return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture
def someone(user: User, server: Server) -> User:
    """A user who trusts the registry and is logged in."""
    user.settings.certificate_folders = [server.certificates]
    user.patience.stall = user.patience.answer = 10.0
    with user.client() as client:
        client.login(server.host, Credential("ann", "secret"))
    return user


@needs_registry
def test_login_is_checked(user: User, server: Server) -> None:
    user.settings.certificate_folders = [server.certificates]
    with user.client() as client:
        with pytest.raises(Unauthenticated):
            client.login(server.host, Credential("ann", "wrong"))
        with pytest.raises(Unauthenticated):
            client.tags(parse_reference(f"{server.host}/team/app"))


@needs_registry
def test_an_image_goes_there_and_back(
    someone: User, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.image.registry.uploads.CHUNK", 1 << 20)
    layers = [os.urandom(3_000_000), b"small"]
    config = someone.store.put(b"{}", "application/vnd.oci.image.config.v1+json")
    descriptors = [someone.store.put(layer, OCI_LAYER_GZIP) for layer in layers]
    image = someone.store.put(dumps(Manifest(2, config, descriptors, OCI_MANIFEST)), OCI_MANIFEST)
    name = parse_reference(f"{server.host}/team/app:v1")
    with someone.client() as client:
        client.push(someone.store, image, name, someone.progress)
        assert set(someone.progress.ended.values()) == {"Pushed"}
        assert client.tags(name) == ["v1"]
        assert client.resolve(name).digest == image.digest
        someone.store.tag(str(name), image)
        client.push(someone.store, image, parse_reference(f"{server.host}/team/copy:v1"), someone.progress)
        assert set(someone.progress.ended.values()) == {"Mounted from team/app"}
        other = User(tmp_path / "other")
        assert client.pull(name, other.store) == image
    assert [other.blob(d.digest) for d in descriptors] == layers


@needs_registry
def test_chunks_are_taken(someone: User, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a broken upload: a real registry takes our PATCH requests and tells how far they came."""
    from sampan.image.registry import uploads

    monkeypatch.setattr(uploads, "CHUNK", 1 << 20)
    data = os.urandom((5 << 19) + 7)
    blob = someone.store.put(data, OCI_LAYER_GZIP)
    with someone.client() as client, someone.store.open(blob.digest) as file:
        remote = client._client(client.settings.endpoint(server.host))
        upload = uploads._Upload(remote, "team/chunks", blob, file, lambda _: None)
        upload.chunk, upload.in_chunks = 1 << 20, True
        upload._begin("")
        upload.chunk = 1 << 20
        upload._send_chunk()
        assert not upload._find_again()
        assert upload.sent == 1 << 20
        upload._send()
        assert remote.has_blob("team/chunks", blob.digest, "")


@needs_registry
@needs_skopeo
def test_S5_skopeo_reads_what_we_push_and_we_what_it_copies(
    someone: User, server: Server, tmp_path: Path
) -> None:
    assert SKOPEO is not None
    config = someone.store.put(b"{}", WASM_TO_OCI_CONFIG)
    layer = someone.store.put(b"\0asm\1\0\0\0", WASM_TO_OCI_LAYER)
    image = someone.store.put(dumps(Manifest(2, config, [layer], OCI_MANIFEST)), OCI_MANIFEST)
    with someone.client() as client:
        client.push(someone.store, image, parse_reference(f"{server.host}/team/wasm:v1"))
    certs = f"{server.certificates}/{server.host}"
    common = ["--creds", "ann:secret"]
    raw = subprocess.run(
        [SKOPEO, "inspect", "--raw", *common, "--cert-dir", certs, f"docker://{server.host}/team/wasm:v1"],
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
    assert raw == someone.store.read(image)
    subprocess.run(
        [SKOPEO, "--insecure-policy", "copy", "--src-creds", "ann:secret", "--dest-creds", "ann:secret",
         "--src-tls-verify", "--src-cert-dir", certs, "--dest-cert-dir", certs,
         f"docker://{server.host}/team/wasm:v1", f"docker://{server.host}/team/skopeo:v1"],
        capture_output=True,
        timeout=60,
        check=True,
    )  # fmt: skip
    other = User(tmp_path / "other")
    with someone.client() as client:
        found = client.pull(parse_reference(f"{server.host}/team/skopeo:v1"), other.store)
    manifest = Manifest.from_json(loads(other.store.read(found)))
    assert other.blob(manifest.layers[0].digest) == b"\0asm\1\0\0\0"
