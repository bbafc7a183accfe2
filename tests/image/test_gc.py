"""Collection: what a name, a lease or a container needs stays, the rest goes, whenever the process dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sampan.core.digest import digest_of
from sampan.core.errors import DataLoss, Exhausted
from sampan.core.spec.image import OCI_LAYER, OCI_MANIFEST, Descriptor
from sampan.image.store import ContentStore
from sampan.testing.stored import put_image, put_index

NAME = "docker.io/library/x:latest"


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(str(tmp_path / "images"))


def blobs(store: ContentStore) -> set[str]:
    return {f"sha256:{name}" for name in os.listdir(f"{store.folder}/blobs/sha256")}


def age(path: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_an_absent_store_is_not_made(store: ContentStore) -> None:
    assert store.prune().digests == []
    assert not os.path.exists(store.folder)


def test_what_no_name_reaches_goes(store: ContentStore) -> None:
    store.tag(NAME, put_index(store, put_image(store)))
    before = blobs(store)
    orphan = store.put(b"orphan", OCI_LAYER)
    pruned = store.prune()
    assert (pruned.digests, pruned.bytes) == ([orphan.digest], 6)
    assert blobs(store) == before
    store.untag(NAME)
    store.prune()
    assert blobs(store) == set()


def test_an_index_with_platforms_that_were_not_fetched_is_fine(store: ContentStore) -> None:
    absent = Descriptor(OCI_MANIFEST, digest_of(b"absent"), 6)
    store.tag(NAME, put_index(store, absent, put_image(store)))
    assert store.prune().digests == []


def test_images_that_containers_use_are_kept_by_digest(store: ContentStore) -> None:
    image = put_index(store, put_image(store))
    assert store.prune(keep=[image.digest, digest_of(b"absent")]).digests == []
    assert len(store.prune().digests) == 4


def test_F11_a_lease_keeps_what_is_in_flight(store: ContentStore) -> None:
    with store.lease() as lease:
        lease.add([digest_of(b"mine")])
        store.put(b"mine", OCI_LAYER)
        store.put(b"other", OCI_LAYER)
        assert ContentStore(store.folder).prune(grace=0).digests == [digest_of(b"other")]
    assert store.prune().digests == [digest_of(b"mine")]
    assert os.listdir(f"{store.folder}/leases") == []


def test_F11_the_lease_of_a_dead_process_counts_for_a_day(store: ContentStore) -> None:
    script = (
        "import os, sys\n"
        "from sampan.image.store import ContentStore\n"
        "store = ContentStore(sys.argv[1])\n"
        "lease = store.lease().__enter__()\n"
        "lease.add([store.put(b'mine', 'x').digest])\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, store.folder], check=False).returncode == 9
    assert store.prune().digests == []
    [name] = os.listdir(f"{store.folder}/leases")
    age(f"{store.folder}/leases/{name}", 25 * 3600)
    assert store.prune().digests == [digest_of(b"mine")]
    assert os.listdir(f"{store.folder}/leases") == []


@pytest.mark.parametrize("seconds", [25 * 3600, -25 * 3600])
def test_X8_partial_blobs_go_after_a_day_whatever_the_clock_did(store: ContentStore, seconds: float) -> None:
    descriptor = Descriptor(OCI_LAYER, digest_of(b"abc"), 3)
    with store.ingest(descriptor) as ingest:
        ingest.write(b"ab")
        [part] = os.listdir(f"{store.folder}/ingest")
        age(f"{store.folder}/ingest/{part}", seconds)
        assert store.prune().partial == 0  # somebody writes it
    age(f"{store.folder}/ingest/{part}", 0)
    assert store.prune().partial == 0  # somebody may come back for it
    age(f"{store.folder}/ingest/{part}", seconds)
    assert store.prune().partial == 1
    assert os.listdir(f"{store.folder}/ingest") == []


def test_without_grace_what_dead_processes_left_goes_at_once(store: ContentStore) -> None:
    with store.ingest(Descriptor(OCI_LAYER, digest_of(b"abc"), 3)) as ingest:
        ingest.write(b"ab")
    Path(store.folder, ".tmp-dead").touch()
    pruned = store.prune(grace=0)
    assert (pruned.partial, pruned.bytes) == (2, 2)


def test_a_damaged_manifest_stops_the_collection(store: ContentStore) -> None:
    image = put_image(store)
    store.tag(NAME, image)
    before = blobs(store)
    path = store.path(image.digest)
    os.chmod(path, 0o600)
    Path(path).write_bytes(b"x" * image.size)
    with pytest.raises(DataLoss, match="fsck"):
        store.prune()
    assert blobs(store) == before


def test_F13_a_manifest_that_cannot_be_opened_stops_the_collection(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.tag(NAME, put_image(store))
    before = blobs(store)

    def no_descriptors(_: str) -> None:
        raise Exhausted("too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(store, "open", no_descriptors)
        with pytest.raises(Exhausted):
            store.prune()
    assert blobs(store) == before


def test_a_damaged_index_stops_the_collection(store: ContentStore) -> None:
    put_image(store)
    Path(store.folder, "index.json").write_text("{")
    with pytest.raises(DataLoss):
        store.prune()
    assert len(blobs(store)) == 3


def test_a_document_that_was_never_one_leads_nowhere(store: ContentStore) -> None:
    store.tag(NAME, store.put(b"no manifest", OCI_MANIFEST))
    assert store.prune().digests == []
