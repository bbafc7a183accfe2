"""/etc/hosts and /etc/hostname of a Linux container."""

import os

import pytest

from sampan.container.hostfiles import give_names


@pytest.fixture
def root(tmp_path):
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_missing_and_empty_files_are_written(tmp_path, root):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hostname").touch()
    give_names(root, "zoo")
    assert (tmp_path / "etc" / "hostname").read_text() == "zoo\n"
    lines = (tmp_path / "etc" / "hosts").read_text().splitlines()
    assert lines[0].split() == ["127.0.0.1", "localhost"]
    assert lines[-1].split() == ["127.0.0.1", "zoo"]


def test_what_the_image_has_stays(tmp_path, root):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").write_text("10.0.0.1 own\n")
    (tmp_path / "etc" / "hostname").mkdir()
    give_names(root, "zoo")
    assert (tmp_path / "etc" / "hosts").read_text() == "10.0.0.1 own\n"


def test_links_lead_nowhere_outside(tmp_path, root):
    (tmp_path / "etc").symlink_to(f"{tmp_path}-outside")
    os.mkdir(f"{tmp_path}-outside")
    give_names(root, "zoo")
    assert os.listdir(f"{tmp_path}-outside") == []
