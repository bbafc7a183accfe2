"""Whole small files: any size, up to a bound, and those that the kernel makes as they are read."""

import os

import pytest

from sampan.linux.files import CHUNK, read_all, read_file


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_the_content_is_whole(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert read_file(f"{tmp_path}/file") == content


@pytest.mark.parametrize("most", [0, 10, CHUNK, 2 * CHUNK])
def test_one_that_is_too_large_is_seen_to_be(tmp_path, most):
    (tmp_path / "file").write_bytes(bytes(most + 1))
    assert len(read_file(f"{tmp_path}/file", most)) > most
    (tmp_path / "large").write_bytes(bytes(20 * CHUNK))
    assert most < len(read_file(f"{tmp_path}/large", most)) <= most + CHUNK


def test_files_of_the_kernel_and_pipes():
    assert read_file("/proc/self/stat").startswith(f"{os.getpid()} ".encode())
    read, write = os.pipe()
    os.write(write, b"a")
    os.write(write, b"b")
    os.close(write)
    assert read_all(read) == b"ab"
    os.close(read)


def test_what_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_file(f"{tmp_path}/nothing")
    with pytest.raises(IsADirectoryError):
        read_file(str(tmp_path))
