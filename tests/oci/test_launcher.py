"""`scripts/sampan-oci`, in a folder like the one that pip installs it to, started as container tools start it."""

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
EXPECTED = f"sampan-oci version {__version__}\nspec: 1.2.0\n"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation: `bin` with an interpreter and both commands, `site-packages` with the package."""
    prefix = tmp_path / "a prefix"
    packages = prefix / "lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    (packages / "sampan").symlink_to(ROOT / "src" / "sampan")
    (prefix / "bin").mkdir()
    (prefix / "bin" / VERSION).symlink_to(sys.executable)
    for name in ("sampan", "sampan-oci"):
        shutil.copy(ROOT / "scripts" / name, prefix / "bin" / name)
    return prefix


def run(program: Path | str, env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        [program, "--version"], env=env, cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("env", [{}, {"PATH": ""}, {"PATH": "/nowhere"}, {"PATH": os.environ["PATH"]}])
def test_it_starts_with_hardly_any_environment(prefix: Path, env: dict[str, str]) -> None:
    links = prefix / "links"
    links.mkdir()
    (links / "runc").symlink_to(prefix / "bin" / "sampan-oci")
    (links / "chained").symlink_to("runc")
    (links / "sampan-oci").symlink_to("../bin/sampan-oci")
    for path in (prefix / "bin" / "sampan-oci", *links.iterdir()):
        assert run(path, env, prefix) == EXPECTED
    assert run("./sampan-oci", env, prefix / "bin") == EXPECTED


def test_it_is_found_by_its_name(prefix: Path) -> None:
    assert run("sampan-oci", {"PATH": f"{prefix}/bin:{os.environ['PATH']}"}, prefix) == EXPECTED


def test_the_other_name_is_the_other_command(prefix: Path) -> None:
    assert run(prefix / "bin" / "sampan", {}, prefix) == f"sampan version {__version__}\n"
    (prefix / "sampan").symlink_to("bin/sampan")
    assert run(prefix / "sampan", {}, prefix) == f"sampan version {__version__}\n"


def test_both_names_are_one_file() -> None:
    assert (ROOT / "scripts" / "sampan-oci").resolve() == ROOT / "scripts" / "sampan"
