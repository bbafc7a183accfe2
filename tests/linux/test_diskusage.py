"""What folders take of the disk, counted beside somebody who writes in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.core.errors import NotFound
from sampan.linux.diskusage import disk_usage


def test_files_folders_and_links_are_counted(tmp_path: Path) -> None:
    assert disk_usage(str(tmp_path)).inodes == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 50_000)
    (tmp_path / "link").symlink_to("a")
    usage = disk_usage(str(tmp_path))
    assert usage.inodes == 4
    assert 50_000 <= usage.bytes <= 100_000


def test_hard_links_count_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 50_000)
    before = disk_usage(str(tmp_path))
    os.link(tmp_path / "one", tmp_path / "two")
    assert disk_usage(str(tmp_path)) == before


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "outside").write_bytes(b"x" * 1_000_000)
    for name, target in (("up", ".."), ("root", "/"), ("itself", "itself")):
        (tmp_path / "top" / name).symlink_to(target)
    assert disk_usage(str(tmp_path / "top")).bytes < 100_000


def test_names_of_any_bytes_and_deep_folders_are_counted(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["d" * 100] * 20)
    deep.mkdir(parents=True)
    with open(os.fsencode(deep) + b"/\xff\xfe", "wb") as file:
        file.write(b"x" * 50_000)
    usage = disk_usage(str(tmp_path))
    assert usage.inodes == 21
    assert usage.bytes >= 50_000


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        disk_usage(f"{tmp_path}/none")
