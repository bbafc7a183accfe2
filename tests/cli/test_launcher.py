"""`scripts/sampan`, in a folder like the one that pip installs it to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sampan import __version__

ROOT = Path(__file__).parents[2]
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation: `bin` with an interpreter and the launcher, `site-packages` with the package."""
    prefix = tmp_path / "a prefix"
    packages = prefix / "lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    (prefix / "lib" / "python3.1" / "site-packages" / "sampan").mkdir(parents=True)  # of another interpreter
    (prefix / "lib" / "python3.1" / "site-packages" / "sampan" / "__main__.py").write_text("1 / 0")
    (packages / "sampan").symlink_to(ROOT / "src" / "sampan")
    (prefix / "bin").mkdir()
    (prefix / "bin" / VERSION).symlink_to(sys.executable)
    shutil.copy(ROOT / "scripts" / "sampan", prefix / "bin" / "sampan")
    (prefix / "bin" / "sampan").chmod(0o755)
    return prefix


def run(*words: str, cwd: Path, path: str = "") -> str:
    env = {"PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_starts_in_every_way_that_people_start_it(prefix: Path) -> None:
    links = prefix / "links"
    links.mkdir()
    (links / "absolute").symlink_to(prefix / "bin" / "sampan")
    (links / "relative").symlink_to("../bin/sampan")
    (links / "chained").symlink_to("relative")
    expected = f"sampan version {__version__}\n"
    assert run(str(prefix / "bin" / "sampan"), "--version", cwd=prefix) == expected
    assert run("bin/sampan", "--version", cwd=prefix) == expected
    assert run("./sampan", "--version", cwd=prefix / "bin") == expected
    assert run("sampan", "--version", cwd=prefix, path=str(prefix / "bin")) == expected
    for name in ("absolute", "relative", "chained"):
        assert run(str(links / name), "--version", cwd=prefix) == expected
    assert run("chained", "--version", cwd=prefix, path=str(links)) == expected


def test_it_takes_the_interpreter_without_site(prefix: Path) -> None:
    shown = run("sh", "-x", "bin/sampan", "--version", cwd=prefix)
    assert shown == f"sampan version {__version__}\n"
    log = subprocess.run(
        ["sh", "-x", "bin/sampan", "-v"], cwd=prefix, capture_output=True, text=True, timeout=60
    )
    assert f"exec bin/{VERSION} -I -S bin/../lib/{VERSION}/site-packages/sampan/__main__.py -v" in log.stderr


def test_words_reach_the_command_as_they_are(prefix: Path) -> None:
    done = subprocess.run(
        [str(prefix / "bin" / "sampan"), "no such; $(command) *"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 125
    assert "'no such; $(command) *' is not a sampan command" in done.stderr
