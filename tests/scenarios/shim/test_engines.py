"""A shim of another package's engine: the name that containerd asks for is the engine's."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import EXAMPLES, needs
from tests.scenarios.oci.images import archive
from tests.scenarios.prefix import PYTHON

from .conftest import HELLO, LINUX, Host

pytestmark = needs("containerd", "runc", "busybox")
TAPE = "localhost/tape:1"


@pytest.fixture(scope="module")
def tape(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    packages = host.folder / "lib" / PYTHON / "site-packages"
    example = EXAMPLES / "08-engine"
    shutil.copy(example / "tape_engine.py", packages)
    info = packages / "sampan_tape-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[sampan.engines]\ntape = tape_engine:engine\n")
    (host.folder / "bin" / "containerd-shim-tape-v1").symlink_to("containerd-shim-sampan-v1")
    folder: Path = tmp_path_factory.mktemp("tape")
    image = archive(folder / "tape", TAPE, {"/hello.tape": example / "hello.tape"}, Cmd=["/hello.tape"])
    host.ctr.ok("images", "import", str(image))
    yield host


def test_it_runs_what_it_handles(tape: Host) -> None:
    assert tape.ctr.ok(*tape.task(TAPE, runtime="tape", flags=("--rm",))) == "Hello World!\n"


def test_wasm_and_linux_run_as_ever(tape: Host) -> None:
    assert "Hello" in tape.ctr.ok(*tape.task(HELLO, runtime="tape", flags=("--rm",)))
    done = tape.ctr(*tape.task(LINUX, "/bin/busybox", "echo", "linux", runtime="tape", flags=("--rm",)))
    assert (done.returncode, done.stdout) == (0, "linux\n")


def test_the_engine_of_another_shim_does_not_run_it(tape: Host) -> None:
    assert tape.ctr(*tape.task(TAPE, runtime="sampan", flags=("--rm",))).returncode != 0
