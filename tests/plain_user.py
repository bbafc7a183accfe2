"""An ordinary user for tests: no root, no capabilities, other roots."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import time

import pytest

import sampan
from sampan.engine.binding import library_path

PYTHON = "/usr/bin/python3"
EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
NEEDED = pytest.mark.skipif(
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

    def __call__(self, *words, start="__main__.py", output=subprocess.PIPE):
        """`sampan`, or what another start file of the package starts."""
        command = [PYTHON, "-I", "-S", str(self.folder / "site/sampan" / start), *words]
        uid, gid = self.ids
        return subprocess.run(command, env=self.env, cwd=self.home, user=uid, group=gid, extra_groups=[], text=True,
                              stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60)  # fmt: skip

    def until(self, holds, seconds=20):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.02)


def plain_user():
    """The user nobody, for as long as a fixture of this runs."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sp-"))
    folder.chmod(0o755)
    yield PlainUser(folder)
    shutil.rmtree(folder)
