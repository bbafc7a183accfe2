"""HOME and PWD, as programs count on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.container.environment import with_home, with_working_directory
from sampan.core.spec.runtime import Process, User


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("uid", "home"), [(0, "/root"), (1000, "/home/ann"), (1001, "/"), (7, "/"), (8, "/"), (10, "/")]
)
def test_home_is_what_the_image_says_of_the_user(tmp_path: Path, root: int, uid: int, home: str) -> None:
    (tmp_path / "etc/passwd").write_bytes(
        b"root:x:0:0:root:/root:/bin/sh\nbroken:x:7\n\xff\nann:x:1000:1000::/home/ann:\nempty:x:8:8:::\n"
        b"bob:x:1000:1000::/second:\n"
    )
    assert with_home(Process(env=["A=b"], user=User(uid)), root).env == ["A=b", f"HOME={home}"]


def test_home_without_a_file_of_users(root: int) -> None:
    assert with_home(Process(), root).env == ["HOME=/"]


def test_home_is_never_read_through_a_link_to_the_host(tmp_path: Path, root: int) -> None:
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.write_text("root:x:0:0:root:/of-the-host:/bin/sh\n")
    (tmp_path / "etc/passwd").symlink_to(outside)
    assert with_home(Process(), root).env == ["HOME=/"]


def test_what_the_spec_says_stays(root: int) -> None:
    process = Process(env=["HOME=", "PWD=/there"], cwd="/here")
    assert with_home(process, root) is process
    assert with_working_directory(process) == ["HOME=", "PWD=/there"]


@pytest.mark.parametrize(("cwd", "env"), [("/", []), ("/work", ["PWD=/work"])])
def test_the_working_directory_is_in_pwd(cwd: str, env: list[str]) -> None:
    assert with_working_directory(Process(cwd=cwd)) == env
