"""Snapshots: whole or not there, unpacked once, and removed only when nobody uses them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.core.digest import digest_of
from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, SampanError
from sampan.core.record import Record
from sampan.core.spec.image import CNCF_LAYER, OCI_LAYER_GZIP, SPIN_DATA_LAYER
from sampan.image.layers import RootfsFile, RootfsLayer
from sampan.image.snapshots import Snapshots
from sampan.image.store import ContentStore
from sampan.testing import tars

MODULE = b"\0asm\x01\0\0\0"


class Rootfs(Record):
    chain_id: str
    rootfs_layers: list[RootfsLayer] = []
    files: list[RootfsFile] = []
    set_ids: bool = False


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(str(tmp_path / "images"))


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(str(tmp_path / "snapshots"))


def image_of(store: ContentStore, *layers: tuple[bytes, str]) -> Rootfs:
    records = [RootfsLayer(store.put(blob, OCI_LAYER_GZIP), diff_id) for blob, diff_id in layers]
    return Rootfs(digest_of(b" ".join(blob for blob, _ in layers)), records)


def artifact_of(store: ContentStore, data: bytes, media_type: str = CNCF_LAYER) -> Rootfs:
    return Rootfs(digest_of(data), [], [RootfsFile("app.wasm", store.put(data, media_type))])


def census(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != "lock")


def test_layers_become_one_folder_and_are_unpacked_once(store: ContentStore, snapshots: Snapshots) -> None:
    image = image_of(store, tars.layer(tars.file("a", b"1"), tars.file("b")), tars.layer(tars.file(".wh.b")))
    path = snapshots.prepare(store, image)
    assert os.listdir(path) == ["a"]
    before = os.stat(path).st_ino
    assert snapshots.prepare(store, image) == path == snapshots.path(image.chain_id)
    assert os.stat(path).st_ino == before
    assert [s.chain_id for s in snapshots.all()] == [image.chain_id]
    assert snapshots.size(image.chain_id) > 0
    assert stat.S_IMODE(os.stat(snapshots.folder).st_mode) == 0o700


def test_an_artifact_becomes_a_folder_with_the_module_in_it(
    store: ContentStore, snapshots: Snapshots
) -> None:
    path = snapshots.prepare(store, artifact_of(store, MODULE))
    assert os.listdir(path) == ["app.wasm"]
    assert Path(path, "app.wasm").read_bytes() == MODULE
    assert stat.S_IMODE(os.stat(f"{path}/app.wasm").st_mode) == 0o444


@pytest.mark.parametrize(
    "data", [b"\x7fELF\x02\x01", b"<html>", b"\x1f\x8b\x08", b"\0asm\x02\0\0\0", b"\0asm", b"(module)", b""]
)
def test_L23_a_wasm_layer_that_is_no_wasm_is_refused(
    store: ContentStore, snapshots: Snapshots, data: bytes
) -> None:
    with pytest.raises(Invalid) as caught:
        snapshots.prepare(store, artifact_of(store, data))
    assert caught.value.exit_code == 126
    assert census(snapshots.folder) == []


def test_data_layers_may_hold_anything(store: ContentStore, snapshots: Snapshots) -> None:
    path = snapshots.prepare(store, artifact_of(store, b"text", SPIN_DATA_LAYER))
    assert Path(path, "app.wasm").read_bytes() == b"text"


def test_L22_a_layer_with_another_diff_id_leaves_no_snapshot(
    store: ContentStore, snapshots: Snapshots
) -> None:
    blob, _ = tars.layer(tars.file("a"))
    image = image_of(store, (blob, digest_of(b"other")))
    with pytest.raises(DataLoss):
        snapshots.prepare(store, image)
    assert census(snapshots.folder) == []
    image.rootfs_layers[0].diff_id = ""
    assert os.listdir(snapshots.prepare(store, image)) == ["a"]


def test_F9_a_damaged_module_is_not_served(store: ContentStore, snapshots: Snapshots) -> None:
    image = artifact_of(store, MODULE + b"x")
    path = store.path(image.files[0].descriptor.digest)
    os.chmod(path, 0o600)
    Path(path).write_bytes(MODULE + b"y")
    with pytest.raises(DataLoss, match="damaged"):
        snapshots.prepare(store, image)
    assert census(snapshots.folder) == []


def test_a_missing_blob_is_named(store: ContentStore, snapshots: Snapshots) -> None:
    image = artifact_of(store, MODULE)
    os.unlink(store.path(image.files[0].descriptor.digest))
    with pytest.raises(NotFound, match="no blob"):
        snapshots.prepare(store, image)
    assert census(snapshots.folder) == []


def test_warnings_are_told(store: ContentStore, snapshots: Snapshots) -> None:
    told: list[str] = []
    snapshots.prepare(store, image_of(store, tars.layer(tars.entry("pipe", kind=b"6"))), told.append)
    assert len(told) == 1


def test_what_a_killed_process_left_is_replaced(store: ContentStore, snapshots: Snapshots) -> None:
    image = artifact_of(store, MODULE)
    left = Path(snapshots.folder, f".tmp-{os.path.basename(snapshots.path(image.chain_id))}")
    (left / "junk").mkdir(parents=True)
    path = snapshots.prepare(store, image)
    assert os.listdir(path) == ["app.wasm"]
    assert len(census(snapshots.folder)) == 1


def test_many_processes_unpack_one_image_once(store: ContentStore, snapshots: Snapshots) -> None:
    image = image_of(store, tars.layer(*(tars.file(f"f{n}", b"x" * 100) for n in range(300))))
    layer = image.rootfs_layers[0]
    script = (
        "import os, sys\n"
        "from types import SimpleNamespace\n"
        "from sampan.core.spec.image import Descriptor\n"
        "from sampan.image.layers import RootfsLayer\n"
        "from sampan.image.snapshots import Snapshots\n"
        "from sampan.image.store import ContentStore\n"
        "chain, digest, size, diff = sys.argv[3:]\n"
        "layer = RootfsLayer(Descriptor('', digest, int(size)), diff)\n"
        "image = SimpleNamespace(chain_id=chain, set_ids=False, rootfs_layers=[layer], files=[])\n"
        "path = Snapshots(sys.argv[2]).prepare(ContentStore(sys.argv[1]), image)\n"
        "print(os.stat(path).st_ino, len(os.listdir(path)))\n"
    )
    args = [store.folder, snapshots.folder, image.chain_id, layer.descriptor.digest]
    args += [str(layer.descriptor.size), layer.diff_id]
    workers = [
        subprocess.Popen([sys.executable, "-c", script, *args], stdout=subprocess.PIPE) for _ in range(4)
    ]
    answers = {worker.communicate(timeout=60)[0] for worker in workers}
    assert len(answers) == 1
    assert answers.pop().endswith(b" 300\n")
    assert len(census(snapshots.folder)) == 1


def test_remove_asks_who_uses_it(store: ContentStore, snapshots: Snapshots) -> None:
    image = artifact_of(store, MODULE)
    snapshots.prepare(store, image)
    with pytest.raises(Precondition):
        snapshots.remove(image.chain_id, lambda: [image.chain_id])
    snapshots.remove(image.chain_id)
    snapshots.remove(image.chain_id)
    assert snapshots.all() == []
    with pytest.raises(NotFound):
        snapshots.size(image.chain_id)


def test_prune_keeps_images_and_containers(store: ContentStore, snapshots: Snapshots) -> None:
    images = [artifact_of(store, MODULE + bytes([n])) for n in range(3)]
    for image in images:
        snapshots.prepare(store, image)
    Path(snapshots.folder, ".tmp-sha256-dead", "x").mkdir(parents=True)
    one, two, three = (image.chain_id for image in images)
    assert snapshots.prune([one], lambda: [two]) == [three]
    assert {s.chain_id for s in snapshots.all()} == {one, two}
    assert len(census(snapshots.folder)) == 2


def test_an_absent_folder_has_no_snapshots(snapshots: Snapshots) -> None:
    assert snapshots.all() == []
    assert snapshots.prune([]) == []
    with pytest.raises(SampanError):
        snapshots.path("../../x")
