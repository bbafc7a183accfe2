"""Pushes that break off, and registries that answer them wrongly (row R27)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.core.digest import digest_of
from sampan.core.errors import DataLoss, Denied, Exhausted, Invalid, NotFound, SampanError, Unavailable
from sampan.core.spec.image import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest
from sampan.core.strictjson import dumps
from sampan.testing.registry import Fault, Registry

from .conftest import User

BIG = os.urandom(3 << 20)


@pytest.fixture
def image(user: User, monkeypatch: pytest.MonkeyPatch) -> Descriptor:
    """An image of one layer of three chunks."""
    monkeypatch.setattr("sampan.image.registry.uploads.CHUNK", 1 << 20)
    config = user.store.put(b"{}", "application/vnd.oci.image.config.v1+json")
    layer = user.store.put(BIG, OCI_LAYER_GZIP)
    return user.store.put(dumps(Manifest(2, config, [layer], OCI_MANIFEST)), OCI_MANIFEST)


def arrived(registry: Registry) -> bool:
    return registry.blobs["team/app"].get(digest_of(BIG)) == BIG and "v1" in registry.manifests["team/app"]


def fails(user: User, registry: Registry, image: Descriptor, kind: type[SampanError], says: str) -> None:
    with pytest.raises(kind, match=says):
        user.push(registry, image)
    assert "v1" not in registry.manifests.get("team/app", {})


def test_R27_an_upload_without_location_is_refused(user: User, registry: Registry, image: Descriptor) -> None:
    registry.fault(Fault("/uploads/", "POST", times=-1, headers={"Location": ""}))
    fails(user, registry, image, DataLoss, "does not say where to")


@pytest.mark.parametrize("location", ["http://127.0.0.2:1/x", "https://elsewhere.example/x", "//127.0.0.1:9/x",
                                      "http://u:p@{host}/x", "http://[::1"])  # fmt: skip
def test_R27_an_upload_that_leads_elsewhere_is_refused(
    user: User, registry: Registry, image: Descriptor, location: str
) -> None:
    headers = {"Location": location.replace("{host}", registry.host)}
    registry.fault(Fault("/uploads/", "POST", times=-1, headers=headers))
    fails(user, registry, image, DataLoss, "leads to")


@pytest.mark.parametrize("path", ["/blobs/", "/manifests/"])
def test_R27_another_digest_in_the_answer_is_refused(
    user: User, registry: Registry, image: Descriptor, path: str
) -> None:
    registry.fault(Fault(path, "PUT", times=-1, headers={"Docker-Content-Digest": digest_of(b"x")}))
    with pytest.raises(DataLoss, match="says it has the digest"):
        user.push(registry, image)


def test_absolute_and_misnamed_locations_are_followed(
    user: User, registry: Registry, image: Descriptor
) -> None:
    registry.uploads["own"] = bytearray()
    location = f"https://{registry.host}/v2/team/app/blobs/uploads/own?_state=a%2Fb%3D"
    registry.fault(Fault("/uploads/", "POST", headers={"Location": location}))
    user.push(registry, image)
    assert arrived(registry)
    [put] = registry.seen("PUT", "/uploads/own")
    assert "?_state=a%2Fb%3D&digest=sha256%3A" in put.path


def test_a_broken_upload_goes_on_where_it_was(user: User, registry: Registry, image: Descriptor) -> None:
    registry.fault(Fault("/uploads/", "PUT", swallow=1_500_000))
    user.patience.attempts = 5
    user.push(registry, image)
    assert arrived(registry)
    ranges = [r.headers["content-range"] for r in registry.seen("PATCH")]
    assert ranges in (["1500000-2548575", "2548576-3145727"], [])  # or the small configuration met the fault


def test_a_broken_chunk_is_sent_again(user: User, registry: Registry, image: Descriptor) -> None:
    registry.body_limit = 2 << 20
    registry.fault(Fault("/uploads/", "PATCH", swallow=300_000), Fault("/uploads/", "PATCH", hang_up=True))
    user.push(registry, image)
    assert arrived(registry)


def test_an_upload_that_the_registry_forgot_begins_anew(
    user: User, registry: Registry, image: Descriptor
) -> None:
    registry.body_limit = 2 << 20
    registry.fault(Fault("/uploads/", "PATCH", status=404))
    user.push(registry, image)
    assert arrived(registry)


def test_what_is_too_large_at_once_goes_in_chunks(user: User, image: Descriptor) -> None:
    with Registry(body_limit=2 << 20) as registry:
        user.push(registry, image)
        assert arrived(registry)
        assert len(registry.seen("PATCH")) == 3


def test_chunks_are_as_large_as_the_registry_wants(user: User, image: Descriptor) -> None:
    with Registry(body_limit=2 << 20, chunk_minimum=(3 << 19) + 5) as registry:
        user.push(registry, image)
        assert arrived(registry)
        assert [r.headers["content-range"] for r in registry.seen("PATCH")] == [
            f"0-{(3 << 19) + 4}",
            f"{(3 << 19) + 5}-{(3 << 20) - 1}",
        ]


def test_what_is_too_large_even_in_chunks_is_an_error(
    user: User, registry: Registry, image: Descriptor
) -> None:
    registry.fault(Fault("/uploads/", "PUT", times=-1, status=413), Fault("", "PATCH", times=-1, status=413))
    fails(user, registry, image, Exhausted, "413")


def test_a_blob_that_arrived_although_the_answer_did_not_is_not_sent_again(
    user: User, registry: Registry, image: Descriptor
) -> None:
    user.push(registry, image, "team/app:before")
    registry.requests.clear()
    registry.fault(
        Fault("/blobs/sha256", "HEAD", times=2, status=404), Fault("/uploads/", "PUT", times=2, hang_up=True)
    )
    user.push(registry, image)
    assert len(registry.seen("PUT", "/uploads/")) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Invalid), (403, Denied), (404, NotFound), (500, Unavailable)],
)
def test_a_refusal_is_said_in_the_registrys_words(
    user: User, registry: Registry, image: Descriptor, status: int, kind: type[SampanError]
) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"quota"}]}'
    registry.fault(Fault("/uploads/", "POST", times=-1, status=status, body=body))
    fails(user, registry, image, kind, "quota")


def test_a_manifest_that_is_refused_is_an_error(user: User, registry: Registry, image: Descriptor) -> None:
    body = b'{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}'
    registry.fault(Fault("/manifests/", "PUT", times=-1, status=400, body=body))
    fails(user, registry, image, Invalid, "MANIFEST_INVALID: no")


def test_a_damaged_store_is_not_pushed(user: User, registry: Registry, image: Descriptor) -> None:
    path = Path(user.store.path(digest_of(BIG)))
    path.chmod(0o600)
    path.write_bytes(BIG[:-1])
    fails(user, registry, image, DataLoss, "does not have its 3145728 bytes")
    path.unlink()
    fails(user, registry, image, NotFound, "has no blob")


def test_redirected_uploads_are_refused(user: User, registry: Registry, image: Descriptor) -> None:
    with Registry() as elsewhere:
        registry.fault(Fault("/uploads/", "POST", times=-1, status=307, headers={"Location": elsewhere.url}))
        fails(user, registry, image, Invalid, "307")
        assert elsewhere.requests == []
