"""Pull and push of whole images against a registry that behaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.core.digest import digest_of
from sampan.core.errors import Exhausted, Invalid, NotFound, Precondition
from sampan.core.reference import parse_reference
from sampan.core.spec.image import (
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    WASM_TO_OCI_CONFIG,
    WASM_TO_OCI_LAYER,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from sampan.core.strictjson import dumps, loads
from sampan.image.registry.settings import RegistryOptions
from sampan.testing.registry import Fault, Registry

from .conftest import User

LAYERS = [b"first" * 20000, b"second" * 20000, b"third"]


def image_of(user: User, layers: list[bytes]) -> Descriptor:
    """An image in the user's store."""
    config = user.store.put(
        b'{"architecture":"wasm","os":"wasi"}', "application/vnd.oci.image.config.v1+json"
    )
    descriptors = [user.store.put(layer, OCI_LAYER_GZIP) for layer in layers]
    return user.store.put(dumps(Manifest(2, config, descriptors, OCI_MANIFEST)), OCI_MANIFEST)


def test_an_image_is_pulled_whole_and_named_last(user: User, registry: Registry) -> None:
    image = registry.add_image("team/app", "v1", LAYERS)
    assert user.pull(registry) == image
    manifest = Manifest.from_json(loads(user.store.read(image)))
    assert [user.blob(layer.digest) for layer in manifest.layers] == LAYERS
    assert user.store.names() == {f"{registry.host}/team/app:v1": image}
    assert set(user.progress.ended.values()) == {"Pull complete"}
    assert all(user.progress.done.get(k, 0) == size for k, size in user.progress.started.items())


def test_what_is_there_is_not_fetched_again(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", LAYERS)
    user.pull(registry)
    registry.requests.clear()
    user.pull(registry)
    assert [r.method for r in registry.requests] == ["HEAD"]
    assert set(user.progress.ended.values()) == {"Already exists"}


def test_a_digest_is_pulled_under_its_own_name(user: User, registry: Registry) -> None:
    image = registry.add_image("team/app", "", LAYERS)
    user.pull(registry, f"team/app@{image.digest}")
    assert list(user.store.names()) == [f"{registry.host}/team/app@{image.digest}"]


def test_the_same_layer_twice_is_fetched_once(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", [b"same", b"same"])
    user.pull(registry)
    assert len(registry.seen("GET", digest_of(b"same"))) == 1


def test_sha512_digests_are_understood(user: User, registry: Registry) -> None:
    digest = digest_of(b"layer", "sha512")
    registry.blobs["team/app"] = {digest: b"layer"}
    manifest = Manifest(
        2, registry.add_blob("team/app", b"{}"), [Descriptor(OCI_LAYER_GZIP, digest, 5)], OCI_MANIFEST
    )
    registry.add_manifest("team/app", "v1", dumps(manifest))
    user.pull(registry)
    assert user.blob(digest) == b"layer"


def test_of_an_index_only_the_platform_is_fetched(user: User, registry: Registry) -> None:
    wasm = registry.add_image("team/app", "", [b"wasm"]).replace(platform=Platform("wasm", "wasi"))
    other = registry.add_image("team/app", "", [b"other"]).replace(platform=Platform("s390x", "linux"))
    index = registry.add_manifest("team/app", "v1", dumps(Index(2, [other, wasm], OCI_INDEX)), OCI_INDEX)
    assert user.pull(registry) == index
    assert wasm.digest in user.blobs()
    assert other.digest not in user.blobs()


def test_R24_the_platforms_on_offer_are_named(user: User, registry: Registry) -> None:
    other = registry.add_image("team/app", "", [b"other"]).replace(platform=Platform("s390x", "linux"))
    third = registry.add_image("team/app", "", [b"third"]).replace(platform=Platform("mips", "linux"))
    registry.add_manifest("team/app", "v1", dumps(Index(2, [other, third], OCI_INDEX)), OCI_INDEX)
    with pytest.raises(NotFound, match=r"linux/mips, linux/s390x"):
        user.pull(registry)
    assert user.store.names() == {}


def test_S5_a_wasm_artifact_goes_there_and_back(user: User, tmp_path: Path) -> None:
    config = user.store.put(b"{}", WASM_TO_OCI_CONFIG)
    layer = user.store.put(b"\0asm\1\0\0\0", WASM_TO_OCI_LAYER)
    image = user.store.put(dumps(Manifest(2, config, [layer], OCI_MANIFEST)), OCI_MANIFEST)
    answer = b'{"token":"%s","access_token":"%s","expires_in":300}'
    with Registry(auth="token", users={"ann": "secret"}) as registry:
        registry.token_answer = answer
        user.log_in(registry)
        assert user.push(registry, image) == image
        other = User(tmp_path / "other")
        assert other.pull(registry) == image
    assert other.blob(layer.digest) == b"\0asm\1\0\0\0"


def test_a_push_gives_all_of_it(user: User, registry: Registry) -> None:
    image = image_of(user, LAYERS)
    assert user.push(registry, image) == image
    assert registry.manifests["team/app"]["v1"] == (user.store.read(image), OCI_MANIFEST)
    assert set(registry.blobs["team/app"].values()) >= set(LAYERS)
    assert set(user.progress.ended.values()) == {"Pushed"}
    assert registry.requests[-1].method == "PUT"
    assert registry.requests[-1].path.endswith("/manifests/v1")


def test_a_second_push_sends_no_blob(user: User, registry: Registry) -> None:
    image = image_of(user, LAYERS)
    user.push(registry, image)
    registry.requests.clear()
    user.push(registry, image, "team/app:v2")
    assert registry.seen("POST") == []
    assert set(user.progress.ended.values()) == {"Layer already exists"}


def test_blobs_are_mounted_from_where_they_came(user: User) -> None:
    with Registry(auth="token", users={"ann": "secret"}) as registry:
        user.log_in(registry)
        registry.add_image("base/image", "v1", LAYERS)
        image = user.pull(registry, "base/image:v1")
        user.push(registry, image)
        assert set(user.progress.ended.values()) == {"Mounted from base/image"}
        assert registry.seen("PUT", "/blobs/") == []


def test_where_mounting_is_refused_blobs_are_sent(user: User) -> None:
    with Registry(mounts=False) as registry:
        registry.add_image("base/image", "v1", LAYERS)
        image = user.pull(registry, "base/image:v1")
        registry.fault(Fault("?mount=", status=403))
        user.push(registry, image)
        assert set(user.progress.ended.values()) == {"Pushed"}


def test_an_index_is_pushed_after_its_manifests(user: User, registry: Registry) -> None:
    children = [image_of(user, [b"a"]), image_of(user, [b"b"])]
    index = user.store.put(dumps(Index(2, children, OCI_INDEX)), OCI_INDEX)
    user.push(registry, index)
    put = [r.path.rpartition("/")[2] for r in registry.seen("PUT", "/manifests/")]
    assert put == [children[0].digest, children[1].digest, "v1"]


def test_an_index_with_a_hole_is_pushed_only_where_the_rest_is(user: User, registry: Registry) -> None:
    wasm = registry.add_image("team/app", "", [b"wasm"]).replace(platform=Platform("wasm", "wasi"))
    other = registry.add_image("team/app", "", [b"other"]).replace(platform=Platform("s390x", "linux"))
    registry.add_manifest("team/app", "v1", dumps(Index(2, [other, wasm], OCI_INDEX)), OCI_INDEX)
    index = user.pull(registry)
    user.push(registry, index, "team/app:v2")
    assert "v2" in registry.manifests["team/app"]
    with pytest.raises(Precondition, match=r"linux/s390x.* is neither here nor at the registry"):
        user.push(registry, index, "team/elsewhere:v1")


def test_a_push_under_another_digest_is_refused(user: User, registry: Registry) -> None:
    with pytest.raises(Invalid, match="another digest"):
        user.push(registry, image_of(user, LAYERS), f"team/app@{digest_of(b'x')}")
    assert registry.requests == []


def test_all_pages_of_tags_are_read(user: User) -> None:
    with Registry(tag_page=2) as registry, user.client() as client:
        for tag in ("a", "b", "c", "d", "e"):
            registry.add_image("team/app", tag, [])
        assert client.tags(parse_reference(f"{registry.host}/team/app")) == ["a", "b", "c", "d", "e"]
        assert len(registry.seen("GET", "/tags/")) == 3
        with pytest.raises(NotFound, match="NAME_UNKNOWN: no repository team/none"):
            client.tags(parse_reference(f"{registry.host}/team/none"))


@pytest.mark.parametrize("headers", [{}, {"Docker-Content-Digest": ""}, {"Content-Type": "application/json"}])
def test_a_name_is_resolved_whatever_a_head_answers(
    user: User, registry: Registry, headers: dict[str, str]
) -> None:
    image = registry.add_image("team/app", "v1", LAYERS)
    registry.fault(Fault("/manifests/", "HEAD", times=-1, headers=headers))
    with user.client() as client:
        assert client.resolve(parse_reference(f"{registry.host}/team/app:v1")) == image
    assert user.blobs() == set()


def test_a_mirror_is_asked_first(user: User, registry: Registry) -> None:
    with Registry() as mirror:
        image = mirror.add_image("cache/team/app", "v1", LAYERS)
        user.settings.registries[registry.host] = RegistryOptions(mirrors=[f"{mirror.host}/cache"])
        assert user.pull(registry) == image
    assert registry.requests == []
    assert list(user.store.names()) == [f"{registry.host}/team/app:v1"]


def test_what_a_mirror_does_not_have_the_registry_gives(user: User, registry: Registry) -> None:
    with Registry() as mirror:
        image = registry.add_image("team/app", "v1", LAYERS)
        mirror.add_manifest("team/app", "v1", user.store.read(image_copy(user, registry, image)))
        mirror.add_blob("team/app", LAYERS[0])
        mirror.add_blob("team/app", LAYERS[1])
        mirror.fault(Fault(digest_of(LAYERS[1]), "GET", times=-1, corrupt=True))
        user.settings.registries[registry.host] = RegistryOptions(mirrors=["127.0.0.1:1", mirror.host])
        assert user.pull(registry) == image
        assert len(mirror.seen("GET", digest_of(LAYERS[0]))) == 1
    assert registry.seen("GET", digest_of(LAYERS[0])) == []
    assert [r.status for r in registry.seen("GET", digest_of(LAYERS[1]))] == [200]


def image_copy(user: User, registry: Registry, image: Descriptor) -> Descriptor:
    return user.store.put(registry.manifests["team/app"][image.digest][0], OCI_MANIFEST)


def test_when_nobody_has_it_the_error_names_all(user: User, registry: Registry) -> None:
    with Registry() as mirror:
        user.settings.registries[registry.host] = RegistryOptions(mirrors=[mirror.host])
        with pytest.raises(NotFound) as caught:
            user.pull(registry)
    assert registry.host in str(caught.value)
    assert mirror.host in str(caught.value)


def test_a_full_disk_stops_the_other_layers(
    user: User, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add_image("team/app", "v1", [os.urandom(100_000) for _ in range(6)])

    def full(*_: object) -> None:
        raise Exhausted("cannot store the blob: No space left on device")

    monkeypatch.setattr("sampan.image.ingest.Ingest.write", full)
    with pytest.raises(Exhausted, match="No space left"):
        user.pull(registry)
    assert user.store.names() == {}
