"""The command as an ordinary user: no root, no capabilities, other roots."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

import sampan
from sampan.engine.binding import library_path

PYTHON = "/usr/bin/python3"
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists(PYTHON),
    reason="needs root, to become another user, and the system's Python",
)


class PlainUser:
    """`sampan` as the user nobody, from a copy of the package that this user may read."""

    def __init__(self, folder):
        self.folder = folder
        site = folder / "site"
        shutil.copytree(
            pathlib.Path(sampan.__file__).parent,
            site / "sampan",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        library = pathlib.Path(library_path())
        (site / "wasmtime" / library.parent.name).mkdir(parents=True)
        shutil.copy(library, site / "wasmtime" / library.parent.name)
        shutil.copytree(EXAMPLES, folder / "examples")
        self.home = folder / "home"
        self.home.mkdir()
        nobody = pwd.getpwnam("nobody")
        os.chown(self.home, nobody.pw_uid, nobody.pw_gid)
        self.ids = nobody.pw_uid, nobody.pw_gid
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "SAMPAN_RUN_ROOT": f"{self.home}/run",
                    "SAMPAN_ZYGOTE_IDLE": "0.5", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip

    def __call__(self, *words):
        command = [PYTHON, "-I", "-S", str(self.folder / "site/sampan/__main__.py"), *words]
        uid, gid = self.ids
        return subprocess.run(command, env=self.env, cwd=self.home, user=uid, group=gid, extra_groups=[],
                              capture_output=True, text=True, timeout=60)  # fmt: skip


@pytest.fixture
def nobody():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sp-"))
    folder.chmod(0o755)
    yield PlainUser(folder)
    shutil.rmtree(folder)


def test_a_plain_user_runs_files_and_is_told_what_is_missing(nobody):
    done = nobody("run", "--rm", str(nobody.folder / "examples/01-hello/hello.wasm"), "one")
    assert done.returncode == 0, done.stderr
    assert "Hello, World!" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "no cgroup" in done.stderr


def test_strict_makes_a_missing_wall_an_error(nobody):
    done = nobody("run", "--rm", "--strict", str(nobody.folder / "examples/01-hello/hello.wasm"))
    assert done.returncode == 125
    assert done.stdout == ""
    assert "--waive cgroup" in done.stderr


def test_a_plain_user_builds_runs_in_the_background_execs_and_removes(nobody):
    done = nobody("build", "-q", "-t", "toolbox", str(nobody.folder / "examples/05-toolbox"))
    assert done.returncode == 0, done.stderr
    done = nobody("run", "-d", "--name", "box", "toolbox", "sleep", "100")
    assert done.returncode == 0, done.stderr
    try:
        assert nobody("exec", "box", "/toolbox.wasm", "write", "/note", "mine").returncode == 0
        done = nobody("exec", "box", "/toolbox.wasm", "cat", "/note")
        assert done.stdout.strip() == "mine", done.stderr
        assert "box" in nobody("ps").stdout
        done = nobody("stop", "-t", "5", "box")
        assert done.returncode == 0, done.stderr
        assert nobody("wait", "box").stdout.strip() == "143"
    finally:
        done = nobody("rm", "-f", "box")
        assert done.returncode == 0, done.stderr


def test_the_memory_limit_is_held_by_the_engine(nobody):
    toolbox = str(nobody.folder / "examples/05-toolbox/toolbox.wasm")
    done = nobody("run", "--rm", "-m", "16m", toolbox, "grow", "64")
    assert "64" not in done.stdout.split(), done.stdout
