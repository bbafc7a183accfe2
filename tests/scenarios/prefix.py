"""An installation as pip makes it, of this source tree."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = f"python3.{sys.version_info.minor}"


def install(folder: Path, scripts: Iterable[Path]) -> None:
    """`folder/bin` with an interpreter and these scripts, and `site-packages` with the packages."""
    packages = folder / "lib" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    (packages / "sampan").symlink_to(ROOT / "src" / "sampan")
    spec = find_spec("wasmtime")
    assert spec is not None and spec.origin is not None
    for entry in Path(spec.origin).parents[1].iterdir():
        if not entry.name.startswith("sampan"):  # one may be installed beside the tests
            (packages / entry.name).symlink_to(entry)
    (folder / "bin").mkdir()
    (folder / "bin" / PYTHON).symlink_to(Path(sys.executable).resolve())
    for script in scripts:
        shutil.copy(script, folder / "bin" / script.name)
