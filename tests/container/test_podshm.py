"""The shared memory of a pod's Linux containers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sampan.container import podshm, podspaces
from sampan.core.errors import Exists, Invalid

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_it_is_mounted_once_and_released_for_good(tmp_path: Path) -> None:
    place = podshm.hold(str(tmp_path))
    try:
        (tmp_path / "shm" / "segment").write_text("here")
        assert podshm.hold(str(tmp_path)) == place
        assert (tmp_path / "shm" / "segment").read_text() == "here"
        assert os.statvfs(place).f_blocks * os.statvfs(place).f_frsize == podshm.SIZE
    finally:
        podshm.release(str(tmp_path))
    podshm.release(str(tmp_path))
    assert not os.path.exists(place)


def test_it_goes_with_the_pods_namespaces(tmp_path: Path) -> None:
    podshm.hold(f"{tmp_path}/pod")
    podspaces.release(f"{tmp_path}/pod")
    assert not os.listdir(tmp_path)


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shm").write_text("")
    with pytest.raises((Exists, Invalid)):
        podshm.hold(str(tmp_path))
