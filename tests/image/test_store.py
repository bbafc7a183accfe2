"""The content store: blobs come in whole or not at all, names lead to what is there, processes share it."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core import strictjson
from sampan.core.digest import digest_of
from sampan.core.errors import DataLoss, Exhausted, Invalid, NotFound, Precondition, SampanError
from sampan.core.spec.image import Descriptor
from sampan.image.store import ContentStore

BLOB = "application/octet-stream"


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(str(tmp_path / "images"))


def descriptor_of(data: bytes) -> Descriptor:
    return Descriptor(BLOB, digest_of(data), len(data))


def census(folder: str) -> set[str]:
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


def test_an_absent_store_is_empty_and_reading_makes_nothing(store: ContentStore) -> None:
    assert store.names() == {}
    assert not store.has(digest_of(b"x"))
    with pytest.raises(NotFound):
        store.open(digest_of(b"x"))
    with pytest.raises(NotFound):
        store.untag("docker.io/library/x:latest")
    assert not os.path.exists(store.folder)


def test_put_then_read_gives_the_same_bytes(store: ContentStore) -> None:
    descriptor = store.put(b"{}", BLOB, {"a": "b"})
    assert descriptor == Descriptor(BLOB, digest_of(b"{}"), 2, {"a": "b"})
    assert store.read(descriptor) == b"{}"
    assert store.put(b"{}", BLOB) == Descriptor(BLOB, digest_of(b"{}"), 2)


def test_the_folder_is_an_oci_layout_that_only_its_owner_reads(store: ContentStore) -> None:
    descriptor = store.put(b"hello", BLOB)
    assert stat.S_IMODE(os.stat(store.folder).st_mode) == 0o700
    assert strictjson.loads(Path(store.folder, "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    blob = os.stat(store.path(descriptor.digest))
    assert stat.S_IMODE(blob.st_mode) == 0o444
    assert os.path.basename(store.path(descriptor.digest)) == digest_of(b"hello").hex


def test_sha512_has_its_own_folder(store: ContentStore) -> None:
    data = b"long digest"
    descriptor = Descriptor(BLOB, digest_of(data, "sha512"), len(data))
    with store.ingest(descriptor) as ingest:
        ingest.write(data)
        ingest.commit()
    assert "/blobs/sha512/" in store.path(descriptor.digest)
    assert store.read(descriptor) == data


def test_an_ingest_goes_on_where_the_last_one_stopped(store: ContentStore) -> None:
    data = os.urandom(100_000)
    with store.ingest(descriptor_of(data)) as ingest:
        ingest.write(data[:40_000])
    with store.ingest(descriptor_of(data)) as ingest:
        assert ingest.offset == 40_000
        ingest.write(data[40_000:])
        ingest.commit()
        assert ingest.complete
    assert store.read(descriptor_of(data)) == data
    assert os.listdir(f"{store.folder}/ingest") == []


def test_restart_begins_again(store: ContentStore) -> None:
    with store.ingest(descriptor_of(b"right")) as ingest:
        ingest.write(b"wro")
        ingest.restart()
        assert ingest.offset == 0
        ingest.write(b"right")
        ingest.commit()
    assert store.read(descriptor_of(b"right")) == b"right"


def test_a_complete_blob_needs_no_bytes(store: ContentStore) -> None:
    descriptor = store.put(b"there", BLOB)
    with store.ingest(descriptor) as ingest:
        assert ingest.complete
        ingest.commit()
        with pytest.raises(Precondition):
            ingest.write(b"x")
    assert os.listdir(f"{store.folder}/ingest") == []


def test_one_byte_too_many_is_data_loss_and_leaves_nothing(store: ContentStore) -> None:
    with (
        store.ingest(descriptor_of(b"abc")) as ingest,
        pytest.raises(DataLoss, match="longer than its 3 bytes"),
    ):
        ingest.write(b"abcd")
    assert os.listdir(f"{store.folder}/ingest") == []


def test_a_short_blob_is_data_loss_and_can_be_resumed(store: ContentStore) -> None:
    with store.ingest(descriptor_of(b"abc")) as ingest:
        ingest.write(b"ab")
        with pytest.raises(DataLoss, match="2 of 3"):
            ingest.commit()
    assert not store.has(digest_of(b"abc"))
    with store.ingest(descriptor_of(b"abc")) as ingest:
        assert ingest.offset == 2


def test_wrong_bytes_are_data_loss_and_leave_nothing(store: ContentStore) -> None:
    with store.ingest(descriptor_of(b"abc")) as ingest:
        ingest.write(b"abd")
        with pytest.raises(DataLoss, match="do not have this digest"):
            ingest.commit()
    assert not store.has(digest_of(b"abc"))
    assert os.listdir(f"{store.folder}/ingest") == []


def test_a_partial_file_longer_than_the_blob_is_begun_again(store: ContentStore) -> None:
    with store.ingest(descriptor_of(b"abc")):
        pass
    digest = digest_of(b"abc")
    Path(store.folder, "ingest", f"sha256-{digest.hex}").write_bytes(b"x" * 10)
    with store.ingest(descriptor_of(b"abc")) as ingest:
        assert ingest.offset == 0


@pytest.mark.parametrize(
    "digest", ["", "md5:" + "0" * 32, "sha256:0", "sha256:../../x", "sha256:" + "A" * 64]
)
def test_R23_a_digest_that_is_none_reaches_no_path(store: ContentStore, digest: str) -> None:
    with pytest.raises(Invalid):
        store.ingest(Descriptor(BLOB, digest, 1))
    with pytest.raises(Invalid):
        store.open(digest)
    with pytest.raises(Invalid):
        store.ingest(Descriptor(BLOB, digest_of(b""), -1))


def test_read_refuses_what_is_large_or_damaged(store: ContentStore) -> None:
    descriptor = store.put(b"good", BLOB)
    with pytest.raises(Exhausted):
        store.read(descriptor.replace(size=(4 << 20) + 1))
    with pytest.raises(DataLoss):
        store.read(descriptor.replace(size=5))
    path = store.path(descriptor.digest)
    os.chmod(path, 0o600)
    Path(path).write_bytes(b"evil")
    with pytest.raises(DataLoss, match="damaged"):
        store.read(descriptor)


def test_streams_and_files_are_stored_by_what_they_hold(store: ContentStore, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    assert store.put_stream(io.BytesIO(data), BLOB) == descriptor_of(data)
    (tmp_path / "file").write_bytes(data)
    assert store.put_file(str(tmp_path / "file"), BLOB, {"k": "v"}).annotations == {"k": "v"}
    with store.open(digest_of(data)) as file:
        assert file.read() == data
    assert os.listdir(f"{store.folder}/ingest") == []
    with pytest.raises(NotFound):
        store.put_file(str(tmp_path / "absent"), BLOB)


def test_names_lead_to_the_descriptor_that_was_given(store: ContentStore) -> None:
    one, two = store.put(b"one", BLOB, {"keep": "me"}), store.put(b"two", BLOB)
    store.tag("b.example/x:1", one)
    store.tag("a.example/x:1", two)
    store.tag("b.example/x:2", one)
    assert store.names() == {"a.example/x:1": two, "b.example/x:1": one, "b.example/x:2": one}
    store.tag("b.example/x:1", two)
    assert store.names()["b.example/x:1"] == two
    store.untag("b.example/x:1")
    assert list(store.names()) == ["a.example/x:1", "b.example/x:2"]
    with pytest.raises(NotFound):
        store.untag("b.example/x:1")


def test_a_name_for_content_that_is_not_there_is_refused(store: ContentStore) -> None:
    with pytest.raises(NotFound):
        store.tag("a.example/x:1", descriptor_of(b"absent"))
    assert store.names() == {}


def test_entries_of_other_tools_are_kept(store: ContentStore) -> None:
    foreign = store.put(b"foreign", BLOB)
    path = Path(store.folder, "index.json")
    path.write_bytes(strictjson.dumps({"schemaVersion": 2, "manifests": [foreign], "x-other": 1}))
    store.tag("a.example/x:1", store.put(b"mine", BLOB))
    written = strictjson.loads(path.read_bytes())
    assert written["x-other"] == 1
    assert [m["digest"] for m in written["manifests"]] == [foreign.digest, digest_of(b"mine")]
    assert list(store.names()) == ["a.example/x:1"]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"schemaVersion":2}', b"\xff\xfe", b'{"a":1,"a":2}'])
def test_F10_a_damaged_index_is_said_to_be(store: ContentStore, text: bytes) -> None:
    descriptor = store.put(b"x", BLOB)
    Path(store.folder, "index.json").write_bytes(text)
    with pytest.raises(DataLoss, match="fsck"):
        store.names()
    with pytest.raises(DataLoss):
        store.tag("a.example/x:1", descriptor)
    assert Path(store.folder, "index.json").read_bytes() == text


@given(st.binary(max_size=300))
def test_F10_no_index_makes_a_traceback(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    store = ContentStore(str(tmp_path_factory.mktemp("store")))
    Path(store.folder, "index.json").write_bytes(junk)
    try:
        store.names()
    except SampanError:
        pass


def test_R28_of_two_writers_of_a_blob_the_second_waits_and_finds_it(store: ContentStore) -> None:
    data = os.urandom(1000)
    first = store.ingest(descriptor_of(data))
    first.write(data[:10])
    found: list[bool] = []

    def second() -> None:
        with ContentStore(store.folder).ingest(descriptor_of(data)) as ingest:
            found.append(ingest.complete)

    thread = threading.Thread(target=second)
    thread.start()
    time.sleep(0.1)
    assert found == []
    first.write(data[10:])
    first.commit()
    thread.join(10)
    assert found == [True]
    assert os.listdir(f"{store.folder}/ingest") == []


def test_R28_when_one_of_two_pullers_is_killed_the_other_goes_on(store: ContentStore) -> None:
    data = bytes(range(256)) * 100
    script = (
        "import sys, time\n"
        "from sampan.image.store import ContentStore\n"
        "from sampan.core.spec.image import Descriptor\n"
        "ingest = ContentStore(sys.argv[1]).ingest(Descriptor('x', sys.argv[2], int(sys.argv[3])))\n"
        "ingest.write(bytes(range(256)) * 10)\n"
        "print('holding', flush=True)\n"
        "time.sleep(100)\n"
    )
    args = [sys.executable, "-c", script, store.folder, digest_of(data), str(len(data))]
    with subprocess.Popen(args, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"holding\n"
        threading.Timer(0.1, victim.kill).start()
        with store.ingest(descriptor_of(data)) as ingest:
            assert ingest.offset == 2560
            ingest.write(data[2560:])
            ingest.commit()
    assert store.read(descriptor_of(data)) == data


def test_many_processes_tag_at_once_and_no_name_is_lost(store: ContentStore) -> None:
    script = (
        "import sys\n"
        "from sampan.image.store import ContentStore\n"
        "store = ContentStore(sys.argv[1])\n"
        "with store.lease() as lease:\n"
        "    for i in range(5):\n"
        "        store.tag(f'x.example/{sys.argv[2]}:{i}', store.put(b'same' + bytes([i]), 'x'))\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, store.folder, str(n)]) for n in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert len(store.names()) == 20
    assert store.fsck(deep=True).clean
