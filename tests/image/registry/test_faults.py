"""Pulls from registries that lie, break off, crawl or lead astray (reliability rows R1 to R23).

Each ends in the image or in one clear error, and leaves nothing visible behind that is not right.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from sampan.core.digest import digest_of
from sampan.core.errors import (
    DataLoss,
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    SampanError,
    TimedOut,
    Unavailable,
    Unimplemented,
)
from sampan.core.reference import parse_reference
from sampan.core.spec.image import DOCKER_LAYER_FOREIGN, OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from sampan.core.strictjson import dumps
from sampan.image.registry.settings import RegistryOptions
from sampan.testing.registry import Fault, Registry

from .conftest import User

BIG = os.urandom(1 << 20)


def fails(
    user: User, registry: Registry, kind: type[SampanError], says: str = "", name: str = "team/app:v1"
) -> str:
    """The text of the error that a pull ends in; nothing may have a name then, and no blob may be wrong."""
    with pytest.raises(kind, match=says or None) as caught:
        user.pull(registry, name)
    assert user.store.names() == {}
    for digest in user.blobs():
        assert digest_of(user.blob(digest)) == digest
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_R1_a_manifest_of_another_digest_is_refused(user: User, registry: Registry) -> None:
    image = registry.add_image("team/app", "v1", [BIG])
    registry.fault(
        Fault(f"/manifests/{image.digest}", times=-1, corrupt=True, headers={"Docker-Content-Digest": ""})
    )
    fails(user, registry, DataLoss, "has the digest", f"team/app@{image.digest}")
    assert user.blobs() == set()


def test_R1_a_manifest_other_than_the_server_says_is_refused(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(
        Fault("/manifests/", "HEAD", times=-1, headers={"Docker-Content-Digest": ""}),
        Fault("/manifests/", headers={"Docker-Content-Digest": digest_of(b"x")}),
        Fault("/manifests/", headers={"Docker-Content-Digest": "md5:x"}),
    )
    fails(user, registry, DataLoss, "has the digest")
    fails(user, registry, DataLoss, "a digest that is none")


def test_R1_a_layer_of_another_digest_is_refused(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), times=-1, corrupt=True))
    fails(user, registry, DataLoss, "do not have this digest")
    assert digest_of(BIG) not in user.blobs()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [len(BIG) - 1, len(BIG) + 1, len(BIG) + 50_000_000, 0])
def test_R2_a_layer_of_another_size_is_refused(
    user: User, registry: Registry, size: int, chunked: bool
) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.blobs["team/app"][digest_of(BIG)] = (BIG * (size // len(BIG) + 1))[:size]
    registry.fault(Fault(digest_of(BIG), times=-1, chunked=chunked))
    fails(user, registry, DataLoss)
    assert f"sha256-{digest_of(BIG).hex}" not in os.listdir(f"{user.store.folder}/ingest")


def test_R3_a_content_length_that_lies_is_refused(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), times=-1, headers={"Content-Length": str(len(BIG) + 1)}))
    fails(user, registry, DataLoss, "not 1048576")


def test_R3_a_blob_that_stalls_is_given_up(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), times=-1, pause=5.0))
    user.patience.stall = 0.05
    fails(user, registry, TimedOut)


def test_R3_a_blob_that_drips_is_given_up(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), times=-1, piece=1, pause=0.02))
    user.patience.stall = 0.1
    fails(user, registry, TimedOut, "too slowly")


def test_R3_a_blob_that_never_ends_is_given_up_at_the_deadline(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), times=-1, piece=20_000, pause=0.05))
    user.patience.deadline = 0.3
    fails(user, registry, TimedOut, "time allowed")


def test_R3_a_manifest_that_drips_is_given_up(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault("/manifests/", "GET", times=-1, piece=1, pause=0.02))
    user.patience.answer, user.patience.attempts = 0.2, 1
    fails(user, registry, TimedOut)


def test_R3_headers_that_never_end_are_given_up(user: User) -> None:
    """A server that sends one header byte now and then, so that no single wait is long."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not stop.wait(0.02):
                    connection.sendall(b"x")
        except OSError:
            pass

    host = f"127.0.0.1:{listener.getsockname()[1]}"
    user.settings.registries[host] = RegistryOptions(plain_http=True)
    thread = threading.Thread(target=drip)
    thread.start()
    user.patience.answer, user.patience.attempts = 0.3, 1
    try:
        with user.client() as client, pytest.raises(TimedOut, match="does not answer in"):
            client.tags(parse_reference(f"{host}/team/app"))
    finally:
        stop.set()
        listener.close()
        thread.join()


def test_R4_a_manifest_over_4_mib_is_refused(user: User, registry: Registry) -> None:
    registry.add_manifest("team/app", "v1", b'{"x":"' + b"x" * (4 << 20) + b'"}')
    fails(user, registry, Exhausted, "more than the 4194304")


def test_R4_an_endless_manifest_is_not_read_to_its_end(user: User, registry: Registry) -> None:
    registry.add_manifest("team/app", "v1", b"x" * (100 << 20))
    registry.fault(Fault("/manifests/", times=-1, chunked=True, headers={"Content-Type": ""}))
    started = time.monotonic()
    fails(user, registry, Exhausted)
    assert time.monotonic() - started < 5


def test_R5_too_many_layers_are_refused(user: User, registry: Registry) -> None:
    layer = registry.add_blob("team/app", b"x")
    document = Manifest(2, layer, [layer] * 513, OCI_MANIFEST)
    registry.add_manifest("team/app", "v1", dumps(document))
    fails(user, registry, Exhausted, "513 layers")


def test_R6_an_index_that_leads_to_itself_or_too_deep_is_refused(user: User, registry: Registry) -> None:
    inner = registry.add_image("team/app", "", [b"x"])
    for _ in range(6):
        data = dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner]})
        inner = registry.add_manifest("team/app", "v1", data, OCI_INDEX)
    fails(user, registry, Invalid, "deeper than 4")


def test_R7_a_document_of_two_kinds_is_refused(user: User, registry: Registry) -> None:
    layer = registry.add_blob("team/app", b"x")
    both = {"schemaVersion": 2, "config": layer, "layers": [], "manifests": []}
    registry.add_manifest("team/app", "v1", dumps(both))
    fails(user, registry, Invalid, "a manifest and an index in one")


def test_R7_a_document_that_differs_from_its_header_is_refused(user: User, registry: Registry) -> None:
    image = registry.add_image("team/app", "v1", [])
    data, _ = registry.manifests["team/app"][image.digest]
    registry.add_manifest("team/app", "v1", data, OCI_INDEX)
    fails(user, registry, Invalid)


def test_R7_a_child_that_differs_from_its_index_is_refused(user: User, registry: Registry) -> None:
    child = registry.add_image("team/app", "", [])
    for wrong in (child.replace(size=child.size + 1), child.replace(media_type=OCI_INDEX)):
        data = dumps({"schemaVersion": 2, "manifests": [wrong]})
        registry.add_manifest("team/app", "v1", data, OCI_INDEX)
        fails(user, registry, SampanError)


def test_R8_an_unknown_document_is_refused(user: User, registry: Registry) -> None:
    registry.add_manifest("team/app", "v1", b'{"schemaVersion":2,"config":{}}', "application/x-strange")
    fails(user, registry, Unimplemented, "application/x-strange")
    registry.add_manifest("team/app", "v1", b'{"schemaVersion":1,"fsLayers":[]}', "application/json")
    fails(user, registry, Unimplemented, "schema 1")


def _manifest(size: str = "1", digest: str = digest_of(b"x"), extra: str = "") -> bytes:
    config = f'{{"mediaType":"a/b","digest":"{digest}","size":{size}}}'
    return f'{{"schemaVersion":2,{extra}"config":{config},"layers":[]}}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_manifest(extra='"layers":[],'), id="R9-key-twice"),
        pytest.param(_manifest("NaN"), id="R12-nan"),
        pytest.param(_manifest("1e999"), id="R12-infinite"),
        pytest.param(_manifest("1.5"), id="R12-fraction"),
        pytest.param(_manifest("true"), id="R12-true"),
        pytest.param(_manifest('"5"'), id="R12-text"),
        pytest.param(_manifest("-1"), id="R12-negative"),
        pytest.param(_manifest(str(1 << 63)), id="R12-2^63"),
        pytest.param(_manifest("[" * 200_000 + "]" * 200_000), id="R13-nested"),
        pytest.param(_manifest("9" * 5000), id="R13-5000-digits"),
        pytest.param(_manifest().decode().encode("utf-16"), id="R14-utf-16"),
        pytest.param(b"\xef\xbb\xbf" + _manifest(), id="R14-bom"),
        pytest.param(_manifest(extra='"x":"\\ud800",'), id="R14-surrogate"),
        pytest.param(_manifest(extra='"x":"') + b"\xff", id="R14-not-utf-8"),
        pytest.param(_manifest(digest="md5:" + "0" * 32), id="R23-md5"),
        pytest.param(_manifest(digest="sha256:short"), id="R23-short"),
        pytest.param(_manifest(digest="sha256:" + "A" * 64), id="R23-uppercase"),
        pytest.param(_manifest(digest="sha256:../../../../etc/passwd"), id="R23-path"),
        pytest.param(b"[]", id="R8-list"),
        pytest.param(b"", id="R8-empty"),
        pytest.param(b"<html>", id="R8-html"),
    ],
)
def test_R9_R12_R13_R14_R23_strange_documents_are_refused(
    user: User, registry: Registry, data: bytes
) -> None:
    registry.add_manifest("team/app", "v1", data)
    fails(user, registry, Invalid)
    assert user.blobs() == set()


def test_R15_a_redirect_gets_no_credentials(user: User) -> None:
    with Registry(auth="token", users={"ann": "secret"}) as registry, Registry() as elsewhere:
        user.log_in(registry)
        registry.add_image("team/app", "v1", [BIG])
        elsewhere.add_blob("cdn", BIG)
        target = f"{elsewhere.url}/v2/cdn/blobs/{digest_of(BIG)}?signature=abc"
        cookie = {"Set-Cookie": "session=secret; Path=/", "Location": target}
        registry.fault(Fault(digest_of(BIG), "GET", times=-1, status=307, headers=cookie))
        user.pull(registry)
        assert user.blob(digest_of(BIG)) == BIG
        assert "authorization" in registry.requests[-1].headers
        assert [r.status for r in elsewhere.requests] == [200]
        assert all("authorization" not in r.headers and "cookie" not in r.headers for r in elsewhere.requests)


def test_R15_a_redirect_on_the_same_host_keeps_them(user: User) -> None:
    with Registry(auth="basic", users={"ann": "secret"}) as registry:
        user.log_in(registry)
        registry.add_image("team/app", "v1", [])
        target = registry.add_image("team/real", "v1", [])
        registry.fault(
            Fault(
                "/team/app/manifests/",
                times=-1,
                status=308,
                headers={"Location": "/v2/team/real/manifests/v1"},
            )
        )
        assert user.pull(registry) == target


def test_R15_more_than_five_redirects_are_refused(user: User, registry: Registry) -> None:
    registry.fault(
        Fault("/manifests/v1", times=-1, status=302, headers={"Location": "/v2/team/app/manifests/v1"})
    )
    fails(user, registry, Denied, "more than 5 times")
    assert len(registry.seen("HEAD")) == 6


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/x", "file:///etc/passwd", "unix:///run/x", "ftp://h/x"]
)
def test_R16_a_redirect_to_a_private_place_is_refused(user: User, registry: Registry, target: str) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), times=-1, status=307, headers={"Location": target}))
    fails(user, registry, Denied)


def test_R18_foreign_urls_are_not_followed(user: User, registry: Registry) -> None:
    with Registry() as elsewhere:
        elsewhere.add_blob("cdn", BIG)
        url = f"{elsewhere.url}/v2/cdn/blobs/{digest_of(BIG)}"
        layer = Descriptor(DOCKER_LAYER_FOREIGN, digest_of(BIG), len(BIG), urls=[url])
        manifest = Manifest(2, registry.add_blob("team/app", b"{}"), [layer], OCI_MANIFEST)
        registry.add_manifest("team/app", "v1", dumps(manifest))
        fails(user, registry, Denied, "only to be had at a foreign URL")
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [(403, Denied, 1), (404, NotFound, 1), (405, Unimplemented, 1), (400, Invalid, 1), (418, Invalid, 1),
     (500, Unavailable, 3), (503, Unavailable, 3), (429, Unavailable, 3)],
)  # fmt: skip
def test_R19_what_may_pass_is_tried_again_and_nothing_else(
    user: User, registry: Registry, status: int, kind: type[SampanError], tries: int
) -> None:
    registry.add_image("team/app", "v1", [BIG])
    body = b'{"errors":[{"code":"ODD","message":"the moon\\u0000is full"}]}'
    registry.fault(Fault(digest_of(BIG), "GET", times=-1, status=status, body=body))
    text = fails(user, registry, kind, "ODD: the moon")
    assert "\0" not in text
    assert len(registry.seen("GET", digest_of(BIG))) == tries


def test_R19_a_passing_failure_is_overcome(user: User, registry: Registry) -> None:
    image = registry.add_image("team/app", "v1", [BIG])
    registry.fault(
        Fault("/manifests/v1", status=503),
        Fault("/manifests/", "GET", status=429, headers={"Retry-After": "0"}),
        Fault(digest_of(BIG), status=500),
        Fault(digest_of(BIG), hang_up=True),
    )
    assert user.pull(registry) == image


def test_R19_retry_after_is_waited_for(
    user: User, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    registry.add_image("team/app", "v1", [BIG])
    user.patience.deadline = 100.0
    registry.fault(Fault("/manifests/v1", status=429, headers={"Retry-After": "42"}))
    user.pull(registry)
    assert waited == [42.0]


def test_R19_a_long_retry_after_is_not(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    user.patience.deadline = 1000.0
    registry.fault(Fault("/manifests/v1", times=-1, status=429, headers={"Retry-After": "61"}))
    fails(user, registry, Unavailable)
    assert len(registry.seen("HEAD")) == 1


def test_R19_a_huge_error_page_is_not_read(user: User, registry: Registry) -> None:
    registry.fault(Fault("/manifests/", times=-1, status=404, body=b"<html>" + b"x" * (50 << 20)))
    assert len(fails(user, registry, NotFound)) < 1100


@pytest.mark.parametrize("at", [0, 1, *range(65536, len(BIG), 4 * 65536), len(BIG) - 1])
def test_R20_a_cut_is_resumed_by_range(user: User, registry: Registry, at: int) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), cut_at=at))
    user.pull(registry)
    assert user.blob(digest_of(BIG)) == BIG
    second = registry.seen("GET", digest_of(BIG))[1]
    assert second.headers.get("range", "bytes=0-") == f"bytes={at}-"


def test_R20_a_connection_cut_every_64_kib_gets_there(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), times=-1, cut_at=65536))
    user.pull(registry)
    assert len(registry.seen("GET", digest_of(BIG))) == 16


def test_R20_a_server_without_ranges_is_coped_with(user: User) -> None:
    with Registry(ranges=False) as registry:
        registry.add_image("team/app", "v1", [BIG])
        registry.fault(Fault(digest_of(BIG), cut_at=500_000))
        user.pull(registry)
    assert user.blob(digest_of(BIG)) == BIG


def test_R20_a_refused_range_is_coped_with(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), cut_at=500_000), Fault(digest_of(BIG), status=416))
    user.pull(registry)
    assert user.blob(digest_of(BIG)) == BIG


def test_R20_a_wrong_range_is_refused(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(
        Fault(digest_of(BIG), cut_at=500_000),
        Fault(digest_of(BIG), times=-1, headers={"Content-Range": f"bytes 0-{len(BIG) - 1}/{len(BIG)}"}),
    )
    fails(user, registry, DataLoss, "another range")


def test_R20_a_part_that_was_wrong_is_fetched_anew(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), corrupt=True, cut_at=600_000))
    user.pull(registry)
    assert user.blob(digest_of(BIG)) == BIG
    assert [r.headers.get("range") for r in registry.seen("GET", digest_of(BIG))] == [
        None,
        "bytes=600000-",
        None,
    ]


def test_R20_the_next_pull_goes_on_where_this_one_stopped(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    registry.fault(Fault(digest_of(BIG), cut_at=700_000), Fault(digest_of(BIG), times=2, hang_up=True))
    user.patience.attempts = 2
    fails(user, registry, Unavailable)
    registry.faults.clear()
    registry.requests.clear()
    user.pull(registry)
    assert [r.headers.get("range") for r in registry.seen("GET", digest_of(BIG))] == ["bytes=700000-"]


def test_R21_a_tag_that_moves_is_resolved_once(user: User, registry: Registry) -> None:
    image = registry.add_image("team/app", "v1", [BIG])

    original = registry.take_fault

    def move(method: str, path: str) -> Fault:
        if method == "GET" and "/manifests/" in path:
            registry.add_image("team/app", "v1", [b"another"])
        return original(method, path)

    registry.take_fault = move  # type: ignore[method-assign]
    assert user.pull(registry) == image
    assert [r.path.rpartition("/")[2] for r in registry.seen("GET", "/manifests/")] == [image.digest]
    assert user.blob(digest_of(BIG)) == BIG


def test_R22_R23_names_that_are_none_reach_no_registry(user: User, registry: Registry) -> None:
    for name in ("a//b", "A/b", "..", "a:", "x" * 300, "a@sha256:ZZ", "a@md5:00", "a\u2024b"):
        with pytest.raises(Invalid):
            user.pull(registry, name)
    assert registry.requests == []


def test_an_unreachable_registry_is_named(user: User, registry: Registry) -> None:
    registry.host = "127.0.0.1:1"
    text = fails(user, registry, Unavailable, "Connection refused")
    assert "127.0.0.1:1" in text


def test_errors_show_no_query(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [BIG])
    with Registry() as elsewhere:
        target = f"{elsewhere.url}/x?X-Signature=secret"
        registry.fault(Fault(digest_of(BIG), times=-1, status=307, headers={"Location": target}))
        elsewhere.fault(Fault("/x", times=-1, hang_up=True))
        assert "secret" not in fails(user, registry, Unavailable)


def random_faults(rng: random.Random, digests: list[str], elsewhere: str) -> list[Fault]:
    faults = []
    for _ in range(rng.randint(1, 6)):
        place = rng.choice(["/manifests/", "/blobs/", rng.choice(digests), "/token", ""])
        fault = Fault(place, times=rng.choice([1, 1, 2, 5, -1]))
        match rng.randrange(9):
            case 0:
                fault.status = rng.choice([400, 401, 403, 404, 416, 429, 500, 502, 503, 504])
            case 1:
                fault.cut_at = rng.choice([0, 1, 1000, 65536, 150_000, 299_999])
            case 2:
                fault.corrupt = True
            case 3:
                fault.piece, fault.pause = rng.choice([(1, 0.02), (50_000, 0.01), (65536, 0.5)])
            case 4:
                fault.hang_up = True
            case 5:
                fault.chunked = True
            case 6:
                fault.status, fault.headers = (
                    307,
                    {"Location": f"{elsewhere}/v2/team/app/blobs/{rng.choice(digests)}"},
                )
            case 7:
                fault.headers = {"Content-Length": rng.choice(["1", "999999", "x"])}
            case 8:
                fault.status = 401
                fault.headers = {"WWW-Authenticate": f'Bearer realm="{elsewhere}/token",service="x"'}
        faults.append(fault)
    return faults


def test_F18_random_faults_end_in_the_image_or_a_clear_error(tmp_path: Path) -> None:
    """`SAMPAN_SWEEP=full` makes it 500 pulls."""
    rounds = 500 if os.environ.get("SAMPAN_SWEEP") == "full" else 30
    layers = [os.urandom(300_000), os.urandom(100_000), b"small"]
    digests = [digest_of(layer) for layer in layers]
    good = bad = 0
    with Registry(address="127.0.0.2") as elsewhere:
        for layer in layers:
            elsewhere.add_blob("team/app", layer)
        for seed in range(rounds):
            rng = random.Random(seed)
            with Registry(auth=rng.choice(["none", "basic", "token"]), users={"ann": "secret"}) as registry:
                user = User(tmp_path / str(seed))
                user.log_in(registry)
                user.patience.stall, user.patience.answer, user.patience.deadline = 0.2, 0.4, 1.5
                image = registry.add_image("team/app", "v1", layers)
                registry.fault(*random_faults(rng, digests, elsewhere.url))
                try:
                    assert user.pull(registry) == image, seed
                    assert [user.blob(digest) for digest in digests] == layers, seed
                    good += 1
                except SampanError as error:
                    assert error.kind != "INTERNAL", (seed, error)
                    assert "secret" not in str(error)
                    assert user.store.names() == {}, seed
                    bad += 1
                for digest in user.blobs():
                    assert digest_of(user.blob(digest)) == digest, seed
        assert all("authorization" not in r.headers for r in elsewhere.requests)
        assert good and bad
