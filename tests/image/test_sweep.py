"""Killed, or out of space, at any system call: the store is clean, the same work then succeeds, nothing is left.

`strace` does it: `inject=CALL:signal=SIGKILL:when=N` ends a process at its N-th call. A sample of the points is
taken; `SAMPAN_SWEEP=full` takes all of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.image.snapshots import Snapshots
from sampan.image.store import ContentStore

FULL = os.environ.get("SAMPAN_SWEEP") == "full"
CALLS = (
    "write",
    "fsync",
    "syncfs",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdir",
    "openat",
    "flock",
    "fchmod",
)
WORK = """
import sys
from types import SimpleNamespace
from sampan.image.layers import RootfsLayer
from sampan.image.snapshots import Snapshots
from sampan.image.store import ContentStore
from sampan.core.spec.image import *
from sampan.core import strictjson
from sampan.testing import tars

def work():
    store, snapshots = ContentStore(sys.argv[1] + "/images"), Snapshots(sys.argv[1] + "/snapshots")
    with store.lease() as lease:
        blob, diff_id = tars.layer(tars.folder("d"), tars.file("d/a", b"x" * 5000), tars.symlink("l", "d"))
        layer, config = store.put(blob, OCI_LAYER_GZIP), store.put(b"{}", OCI_CONFIG)
        lease.add([layer.digest, config.digest])
        manifest = store.put(strictjson.dumps(Manifest(2, config, [layer], OCI_MANIFEST)), OCI_MANIFEST)
        lease.add([manifest.digest])
        store.tag("x.example/a:1", manifest)
        store.tag("x.example/b:1", manifest)
    with snapshots.hold():
        layers = [RootfsLayer(layer, diff_id)]
        image = SimpleNamespace(chain_id=diff_id, set_ids=False, rootfs_layers=layers, files=[])
        snapshots.prepare(store, image)
    store.untag("x.example/b:1")
    store.put(b"unused", OCI_CONFIG)
    store.prune(grace=0)
"""
RUN = (
    WORK
    + """
from sampan.core.errors import SampanError
try:
    work()
except SampanError as error:
    sys.exit(3)
"""
)

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def run(folder: Path, *strace: str) -> int:
    """The exit status of the work: 0 done, 3 one of our own errors, anything else a fault."""
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*strace, sys.executable, "-c", RUN, str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    if "Traceback" in done.stderr:
        print(done.stderr)
    return done.returncode


def points(tmp_path: Path) -> list[tuple[str, int]]:
    """Every call of the work that touches the store: which call, and the how many-th of its kind."""
    log = tmp_path / "log"
    folder = tmp_path / "counted"
    assert (
        run(
            folder, "strace", "-f", "-qq", "-y", "-s", "300", "-e", "trace=" + ",".join(CALLS), "-o", str(log)
        )
        == 0
    )
    seen: dict[str, int] = {}
    found = []
    for line in log.read_text(errors="replace").splitlines():
        call = line.split(maxsplit=1)[-1].partition("(")[0]
        if call in CALLS:
            seen[call] = seen.get(call, 0) + 1
            if str(folder) in line or "/ingest/" in line or ".tmp-" in line:
                found.append((call, seen[call]))
    assert len(found) > 50
    return found


def sample(all_points: list[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    return all_points if FULL else all_points[:: max(1, len(all_points) // most)]


def check(folder: Path, point: tuple[str, int]) -> None:
    """Clean now, clean after the same work again, and nothing left over after a collection."""
    store, snapshots = ContentStore(f"{folder}/images"), Snapshots(f"{folder}/snapshots")
    assert store.fsck(deep=True).clean, point
    for snapshot in snapshots.all():
        assert Path(snapshot.path, "d/a").read_bytes() == b"x" * 5000, point
    assert run(folder) == 0, point
    assert store.fsck(deep=True).clean, point
    assert list(store.names()) == ["x.example/a:1"], point
    snapshots.prune([s.chain_id for s in snapshots.all()])
    store.prune(grace=0)
    left = [p for p in folder.rglob("*") if ".tmp-" in p.name or p.parent.name in ("ingest", "leases")]
    assert left == [], point
    assert sorted(os.listdir(store.folder)) == [
        "blobs",
        "index.json",
        "ingest",
        "leases",
        "lock",
        "oci-layout",
    ]


@pytest.mark.timeout(3600)
def test_F8_F9_F11_killed_at_any_call_nothing_is_lost_or_left(tmp_path: Path) -> None:
    for call, number in sample(points(tmp_path), 20):
        folder = tmp_path / f"{call}-{number}"
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        assert run(folder, "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject) != 0
        check(folder, (call, number))
        shutil.rmtree(folder)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EMFILE"])
def test_F12_F13_X1_X2_a_call_that_fails_is_an_error_and_undone(tmp_path: Path, error: str) -> None:
    calls = {"ENOSPC": ("write", "mkdir", "openat"), "EIO": ("fsync", "syncfs"), "EMFILE": ("openat",)}[error]
    chosen = [point for point in points(tmp_path) if point[0] in calls]
    for call, number in sample(chosen, 6):
        folder = tmp_path / f"{call}-{number}"
        inject = f"inject={call}:error={error}:when={number}"
        code = run(folder, "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        assert code in (0, 3), (call, number, code)
        check(folder, (call, number))
        shutil.rmtree(folder)
