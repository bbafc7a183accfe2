"""Whoever swaps names in a bundle while it is created and deleted: nothing of the host is changed, mounted or seen.

Rows C12 and C13 with the whole `sampan-oci`; `SAMPAN_RACE_ROUNDS` says how many rounds each test makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import Runtime

ROUNDS = int(os.environ.get("SAMPAN_RACE_ROUNDS", "12"))
SECONDS_A_ROUND = 10
RACER = Path(__file__).with_name("racer.py")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the default bundle does"),
    pytest.mark.timeout(ROUNDS * SECONDS_A_ROUND),
]


@contextmanager
def racing(folder: Path, *pairs: str) -> Iterator[None]:
    """Two processes swap each pair of names in the folder."""
    command = [sys.executable, str(RACER), str(folder), *pairs]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for racer in racers:
            assert racer.stdout is not None and racer.stdout.readline() == b"ready\n"
        yield
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


class Outside:
    """A folder of the host that the racers' links lead to, full of what a creation would like to make or take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outside"
        (self.folder / "inner" / "sub").mkdir(parents=True)
        for name in ("secret", "hosts", "inner/secret", "app.wasm"):
            (self.folder / name).write_text("of the host")
        self._before = self._look()

    def _look(self) -> list[tuple[object, ...]]:
        paths = sorted([self.folder, *self.folder.rglob("*")])
        states = [(path, path.lstat()) for path in paths]
        return [(str(p), s.st_mode, s.st_uid, s.st_nlink, s.st_size, s.st_mtime_ns) for p, s in states]

    def assert_untouched(self) -> None:
        assert self._look() == self._before
        assert (self.folder / "secret").read_text() == "of the host"
        assert str(self.folder) not in Path("/proc/self/mountinfo").read_text()

    def assert_unseen_by(self, pid: int) -> None:
        """No mount of the container shows a part of it."""
        assert str(self.folder) not in Path(f"/proc/{pid}/mountinfo").read_text()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    outside = Outside(tmp_path)
    yield outside
    outside.assert_untouched()


def rounds(oci: Runtime, bundle: Path, outside: Outside) -> int:
    """Creates and deletes a container of the bundle again and again; how often there was one.

    Goes on for a while where the racers let none be made: they are to meet those that are made, too.
    """
    made = 0
    for number in range(40 * ROUNDS):
        if made and number >= ROUNDS:
            break
        container_id = oci.new_id()
        done = oci("create", "-b", str(bundle), container_id)
        if done.code == 0:
            made += 1
            outside.assert_unseen_by(oci.state(container_id)["pid"])
            oci.ok("delete", "--force", container_id)
        else:
            assert done.err.count("\n") == 1 and "a fault of" not in done.err, done.err
            assert not oci.root.exists() or not (oci.root / container_id).exists()
        outside.assert_untouched()
    return made


def mount(to: str, source: object, *options: str) -> dict[str, object]:
    kind = "bind" if source else "tmpfs"
    return {"destination": to, "type": kind, "source": str(source or "tmpfs"), "options": list(options)}


def with_links(folder: Path, outside: Path, *names: str) -> list[str]:
    """Beside each name a link that leads outside; the pairs to swap."""
    for turn, name in enumerate(names):
        target = outside / "hosts" if name == "hosts" else outside
        up = "../" * 30
        (folder / f".{name}").symlink_to(target if turn % 2 else f"{up}{target}")
    return [f"{name}:.{name}" for name in names]


def test_C12_C13_racers_on_the_places_of_mounts_and_of_hidden_paths(oci: Runtime, outside: Outside) -> None:
    source = oci.folder / "source"
    source.mkdir()
    (source / "file").write_text("of a volume")

    def change(document: dict[str, Any]) -> None:
        document["mounts"] += [
            mount("/data/inner/new", "", "size=64k"),
            mount("/data/inner/new/deep", source, "rbind"),
            mount("/hosts", source / "file", "bind", "ro"),
            mount("/data/file", source / "file", "bind"),
            mount("/tmp/inner", "", "tmpcopyup", "size=1m"),
        ]
        document["linux"]["maskedPaths"] += ["/masked/secret", "/masked", "/data/secret"]
        document["linux"]["readonlyPaths"] += ["/fixed", "/fixed/inner", "/tmp"]

    bundle = oci.bundle(change=change)
    root = bundle / "rootfs"
    for name in ("data", "tmp", "masked", "fixed"):
        (root / name / "inner").mkdir(parents=True)
        (root / name / "secret").write_text("of the image")
    (root / "hosts").write_text("")
    pairs = with_links(root, outside.folder, "data", "hosts", "masked", "fixed", "tmp")
    with racing(root, *pairs):
        made = rounds(oci, bundle, outside)
    assert made


def test_C12_C13_racers_on_proc_sys_and_dev(oci: Runtime, outside: Outside) -> None:
    def change(document: dict[str, Any]) -> None:
        document["mounts"] += [mount("/run", "", "size=64k"), mount("/dev/x", outside.folder, "rbind")]
        document["linux"]["maskedPaths"] += ["/proc/inner", "/sys/secret", "/dev/secret"]
        document["linux"]["readonlyPaths"] += ["/proc/secret", "/sys/inner"]

    bundle = oci.bundle(change=change)
    root = bundle / "rootfs"
    for name in ("proc", "sys", "dev", "run"):
        (root / name / "inner").mkdir(parents=True)
    pairs = with_links(root, outside.folder, "proc", "sys", "dev", "run")
    with racing(root, *pairs):
        made = rounds(oci, bundle, outside)
    assert made


def test_C12_C13_racers_on_a_volume_that_containers_share(oci: Runtime, outside: Outside) -> None:
    """CVE-2021-30465: the folder of a mount lies in a volume that another container writes."""
    volume = oci.folder / "volume"
    (volume / "x" / "inner").mkdir(parents=True)
    (volume / "y").mkdir()

    def change(document: dict[str, Any]) -> None:
        document["mounts"] += [
            mount("/volume", volume, "rbind", "rw"),
            mount("/volume/x/inner/new", "", "size=64k"),
            mount("/volume/y/new", oci.folder / "call-none", "bind"),
        ]

    (oci.folder / "call-none").mkdir()
    bundle = oci.bundle(change=change)
    pairs = with_links(volume, outside.folder, "x", "y")
    with racing(volume, *pairs):
        made = rounds(oci, bundle, outside)
    assert made


def test_C12_C13_racers_on_the_workload_itself(oci: Runtime, outside: Outside) -> None:
    """What is run is the image's, or nothing; a file of the host is neither run nor told of."""
    bundle = oci.bundle("/bin/app.wasm", "echo", "of the image")
    root = bundle / "rootfs"
    (root / "bin").mkdir()
    (root / "app.wasm").rename(root / "bin" / "app.wasm")
    pairs = with_links(root, outside.folder, "bin")
    seen = set()
    with racing(root, *pairs):
        for _ in range(ROUNDS):
            done = oci("run", "-b", str(bundle), oci.new_id())
            assert "of the host" not in done.out + done.err and "a fault of" not in done.err
            seen.add((done.code, done.out))
            outside.assert_untouched()
    assert seen <= {(0, "of the image\n"), (1, "")}


def test_a_bundle_whose_document_is_written_meanwhile_is_one_document_or_none(
    oci: Runtime, outside: Outside
) -> None:
    """Two documents that are swapped, and one that is half written: no container has some of each."""
    names = ("one", "two")
    folders = {name: oci.folder / name for name in names}
    texts = {}
    for name, folder in folders.items():
        folder.mkdir()

        def change(document: dict[str, Any], name: str = name, folder: Path = folder) -> None:
            document["annotations"] = {"name": name}
            document["mounts"].append(mount("/volume", folder, "bind", "ro"))

        texts[name] = (oci.bundle(change=change) / "config.json").read_text()
    bundle = oci.bundle()
    (bundle / "config.json").write_text(texts["one"])
    (bundle / "other.json").write_text(texts["two"])
    (bundle / "third.json").write_text(texts["two"][: len(texts["two"]) // 2])
    made = 0
    with racing(bundle, "config.json:other.json", "config.json:third.json", "config.json:other.json"):
        for _ in range(ROUNDS):
            container_id = oci.new_id()
            done = oci("create", "-b", str(bundle), container_id)
            if done.code:
                assert done.err.count("\n") == 1 and "config.json" in done.err, done.err
                continue
            made += 1
            state = oci.state(container_id)
            table = Path(f"/proc/{state['pid']}/mountinfo").read_text()
            mounted = [name for name in names if f"{folders[name]} /volume " in table]
            assert mounted == [state["annotations"]["name"]]
            frozen = json.loads((oci.root / container_id / "config.json").read_text())
            assert frozen["annotations"] == state["annotations"]
            oci.ok("delete", "--force", container_id)
    assert made
