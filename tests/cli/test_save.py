"""`sampan save` onto whatever its target is: links, devices, pipes, folders, a reader that leaves."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from .conftest import Sampan

HELLO = Path(__file__).parents[2] / "examples" / "01-hello" / "hello.wasm"


@pytest.fixture
def hello(sampan: Sampan) -> Sampan:
    """A store with the image `hello`."""
    sampan.ok("build", "-q", "-t", "hello", str(HELLO))
    return sampan


def test_a_link_stays_and_its_target_is_written(hello: Sampan) -> None:
    target, link = hello.folder / "target.tar", hello.folder / "link.tar"
    target.write_bytes(b"old")
    link.symlink_to("target.tar")
    hello.ok("save", "-o", "link.tar", "hello")
    assert os.readlink(link) == "target.tar"
    assert hello.ok("load", "-i", str(target)) == "Loaded image: hello:latest\n"


def test_a_device_is_written_to_and_not_replaced(hello: Sampan) -> None:
    if os.geteuid() == 0:  # not the machine's own: a fault here would replace it
        os.mknod(hello.folder / "null", 0o020666, os.makedev(1, 3))
        os.mknod(hello.folder / "full", 0o020666, os.makedev(1, 7))
    else:
        pytest.skip("only root makes devices")
    hello.ok("save", "-o", "null", "hello")
    assert (hello.folder / "null").is_char_device()
    done = hello("save", "-o", "full", "hello")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and "(EXHAUSTED)" in done.stderr
    assert (hello.folder / "full").is_char_device()


def test_a_fifo_is_written_into(hello: Sampan) -> None:
    fifo = hello.folder / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
    reader.start()
    hello.ok("save", "-o", "fifo", "hello")
    reader.join(20)
    assert fifo.is_fifo()
    assert hello.ok("load", stdin=read[0]) == "Loaded image: hello:latest\n"


def test_standard_output_by_name(hello: Sampan) -> None:
    done = subprocess.run(
        hello.command("save", "-o", "/dev/stdout", "hello"), capture_output=True, env=hello.env, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert hello.ok("load", stdin=done.stdout) == "Loaded image: hello:latest\n"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("folder", "cannot write folder: it is a folder; name a file in it (INVALID)"),
        ("absent/x.tar", "No such file or directory (absent/x.tar) (NOT_FOUND)"),
        ("file/x.tar", "Not a directory (file/x.tar) (INVALID)"),
    ],
)
def test_targets_that_are_none_are_named(hello: Sampan, target: str, said: str) -> None:
    (hello.folder / "folder").mkdir()
    (hello.folder / "file").touch()
    before = sorted(hello.folder.rglob("*.part"))
    done = hello("save", "-o", target, "hello")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{said}\n")
    assert sorted(hello.folder.rglob("*.part")) == before == []


@pytest.mark.parametrize(
    "words",
    [["save", "hello"], ["images"], ["inspect", "hello"], ["events", "--since", "1h", "--until", "0s"]],
)
def test_a_reader_that_leaves_is_no_news(hello: Sampan, words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        hello.command(*words), stdout=write, stderr=subprocess.PIPE, env=hello.env, timeout=60
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141
