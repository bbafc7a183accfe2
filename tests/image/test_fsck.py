"""Checking: damage is found, put aside with its reason and named, and the next put heals it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.core import strictjson
from sampan.core.digest import digest_of
from sampan.core.errors import DataLoss
from sampan.core.spec.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from sampan.image.store import ContentStore
from sampan.testing.stored import put_image, put_index

NAME = "docker.io/library/x:latest"


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    store = ContentStore(str(tmp_path / "images"))
    store.tag(NAME, put_image(store))
    return store


def damage(store: ContentStore, digest: str, data: bytes) -> None:
    os.chmod(store.path(digest), 0o600)
    Path(store.path(digest)).write_bytes(data)


def blobs(store: ContentStore) -> list[str]:
    return os.listdir(f"{store.folder}/blobs/sha256")


def quarantine(store: ContentStore) -> list[str]:
    return sorted(os.listdir(f"{store.folder}/quarantine"))


def test_a_good_store_is_clean(store: ContentStore) -> None:
    for deep in (False, True):
        report = store.fsck(deep)
        assert report.clean
        assert (report.blobs, report.deep) == (3, deep)
        assert report.bytes > 0
    assert not os.path.exists(f"{store.folder}/quarantine")


def test_an_absent_store_is_clean_and_not_made(tmp_path: Path) -> None:
    store = ContentStore(str(tmp_path / "absent"))
    assert store.fsck().clean
    assert not os.path.exists(store.folder)


def test_F9_a_flipped_bit_in_a_layer_is_found_by_a_deep_check(store: ContentStore) -> None:
    layer = digest_of(b"layer")
    damage(store, layer, b"lbyer")
    assert store.fsck().clean
    [finding] = store.fsck(deep=True).findings
    assert (finding.what, finding.kind, finding.images) == (layer, "damaged", [NAME])
    assert not store.has(layer)
    moved, reason = quarantine(store)
    assert Path(store.folder, "quarantine", moved).read_bytes() == b"lbyer"
    assert "digest" in Path(store.folder, "quarantine", reason).read_text()
    [again] = store.fsck().findings
    assert (again.what, again.kind) == (layer, "missing")
    store.put(b"layer", OCI_LAYER)
    assert store.fsck(deep=True).clean


@pytest.mark.parametrize("data", [b"", b"lay", b"layer and more"])
def test_F9_a_layer_of_another_size_is_found_at_once(store: ContentStore, data: bytes) -> None:
    damage(store, digest_of(b"layer"), data)
    [finding] = store.fsck().findings
    assert finding.kind == "damaged"
    assert not store.has(digest_of(b"layer"))


def test_a_size_that_an_image_invents_costs_no_other_image_its_blob(store: ContentStore) -> None:
    layer, config = Descriptor(OCI_LAYER, digest_of(b"layer"), 7), store.put(b"{}", OCI_CONFIG)
    liar = store.put(strictjson.dumps(Manifest(2, config, [layer], OCI_MANIFEST)), OCI_MANIFEST)
    store.tag("docker.io/library/liar:1", liar)
    [finding] = store.fsck().findings
    assert (finding.kind, finding.images) == ("unreadable", ["docker.io/library/liar:1"])
    assert store.has(layer.digest)
    with pytest.raises(DataLoss, match="5 bytes, not 7"):
        store.ingest(layer)


def test_F10_a_damaged_manifest_is_put_aside_and_then_collection_works(store: ContentStore) -> None:
    manifest = store.names()[NAME]
    damage(store, manifest.digest, b"x" * manifest.size)
    [finding] = store.fsck().findings
    assert (finding.what, finding.kind, finding.images) == (manifest.digest, "damaged", [NAME])
    store.prune()
    assert blobs(store) == []
    put_image(store)
    assert store.fsck(deep=True).clean


def test_F10_a_damaged_index_is_put_aside_and_its_blobs_stay(store: ContentStore) -> None:
    Path(store.folder, "index.json").write_bytes(b'{"schemaVersion":2,"manifests":[{"mediaType"')
    [finding] = store.fsck().findings
    assert (finding.what, finding.kind) == ("index.json", "damaged")
    assert "lost" in finding.reason
    assert store.names() == {}
    assert len(blobs(store)) == 3
    assert len(quarantine(store)) == 2
    assert store.fsck().clean


def test_a_missing_blob_is_named_with_its_images(store: ContentStore) -> None:
    store.tag("docker.io/library/y:1", store.names()[NAME])
    os.unlink(store.path(digest_of(b"{}")))
    [finding] = store.fsck().findings
    assert (finding.kind, finding.images) == (
        "missing",
        ["docker.io/library/y:1", NAME],
    ) or finding.images == [
        NAME,
        "docker.io/library/y:1",
    ]


def test_of_an_index_one_platform_is_enough(store: ContentStore) -> None:
    absent = Descriptor(OCI_MANIFEST, digest_of(b"absent"), 6)
    store.tag("docker.io/library/many:1", put_index(store, absent, put_image(store)))
    assert store.fsck().clean
    store.tag("docker.io/library/none:1", put_index(store, absent))
    [finding] = store.fsck().findings
    assert (finding.what, finding.images) == (absent.digest, ["docker.io/library/none:1"])


def test_a_document_that_makes_no_sense_is_reported_and_stays(store: ContentStore) -> None:
    junk = store.put(b"junk", OCI_MANIFEST)
    store.tag("docker.io/library/junk:1", junk)
    [finding] = store.fsck().findings
    assert (finding.what, finding.kind) == (junk.digest, "unreadable")
    assert store.has(junk.digest)


def test_a_file_that_is_no_blob_is_put_aside_by_a_deep_check(store: ContentStore) -> None:
    Path(store.folder, "blobs", "sha256", "notes.txt").write_text("hello")
    assert store.fsck(deep=True).findings[0].kind == "damaged"
    assert store.fsck(deep=True).clean


def test_an_unused_blob_that_is_damaged_is_found_by_a_deep_check(store: ContentStore) -> None:
    orphan = store.put(b"orphan", OCI_CONFIG)
    damage(store, orphan.digest, b"orphaN")
    [finding] = store.fsck(deep=True).findings
    assert finding.images == []
