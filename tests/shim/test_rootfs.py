"""Root filesystems as containerd's snapshotters describe them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.core.errors import Invalid, SampanError
from sampan.doors.shim import rootfs
from sampan.doors.shim.messages import Mount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's")


def layers(folder: Path, count: int) -> list[str]:
    paths = []
    for number in range(count):
        path = folder / f"a-folder-with-a-long-name-{number}" / "fs"
        path.mkdir(parents=True)
        (path / f"file-{number}").write_text("x")
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("count", [1, 3, 80])
def test_an_overlay_of_as_many_layers_as_there_are(tmp_path: Path, count: int) -> None:
    lower = layers(tmp_path / "snapshots", count)
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = [f"lowerdir={':'.join(lower)}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]
    before = os.getcwd()
    rootfs.make(str(tmp_path), [Mount("overlay", "overlay", "", ["index=off", *options])])
    try:
        assert len(os.listdir(tmp_path / "rootfs")) == count
        (tmp_path / "rootfs" / "new").write_text("y")
        assert (tmp_path / "upper" / "new").exists()
        assert os.getcwd() == before
    finally:
        rootfs.remove(str(tmp_path))
    assert os.listdir(tmp_path / "rootfs") == []
    rootfs.remove(str(tmp_path))


@pytest.mark.parametrize("options", [["rbind", "ro"], ["rbind", "rw"], ["bind", "ro", "nosuid"]])
def test_a_bind_with_its_options(tmp_path: Path, options: list[str]) -> None:
    (source,) = layers(tmp_path / "snapshots", 1)
    rootfs.make(str(tmp_path), [Mount("bind", source, "", options)])
    try:
        assert os.listdir(tmp_path / "rootfs") == ["file-0"]
        assert bool(os.statvfs(tmp_path / "rootfs").f_flag & os.ST_RDONLY) == ("ro" in options)
    finally:
        rootfs.remove(str(tmp_path))


@pytest.mark.parametrize(
    "mount",
    [
        Mount("bind", "/nowhere", "", ["rbind"]),
        Mount("nosuchfs", "x"),
        Mount("overlay", "overlay", "", ["lowerdir=/nowhere"]),
        Mount("overlay", "overlay", "", ["lowerdir=" + ":".join(f"/{'x' * 60}/{n}" for n in range(99))]),
        Mount("bind", "a\0b", "", ["bind"]),
        Mount("tmpfs", "tmpfs", "", ["remount"]),
    ],
)
def test_one_that_cannot_be_made_takes_the_others_along(tmp_path: Path, mount: Mount) -> None:
    (source,) = layers(tmp_path / "snapshots", 1)
    with pytest.raises(SampanError):
        rootfs.make(str(tmp_path), [Mount("bind", source, "", ["rbind"]), mount])
    assert os.listdir(tmp_path / "rootfs") == []


def test_more_layers_than_a_mount_takes(tmp_path: Path) -> None:
    lower = ":".join(f"/{number}{'x' * 60}" for number in range(200))
    with pytest.raises(Invalid, match="200 layers"):
        rootfs.make(str(tmp_path), [Mount("overlay", "overlay", "", [f"lowerdir={lower}"])])
