"""The real command, run as its launcher runs it: an interpreter with -I -S and the package's start file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

START = Path(__file__).parents[2] / "src" / "sampan" / "__main__.py"


class Sampan:
    """Runs `sampan …` with roots of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "SAMPAN_ROOT": str(folder / "data"),
            "SAMPAN_RUN_ROOT": str(folder / "run"),
        }

    def command(self, *words: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-I", "-S", str(START), *words]

    def __call__(
        self, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            env=self.env | (env or {}),
            cwd=self.folder,
            timeout=60,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def ok(self, *words: str, stdin: bytes = b"") -> str:
        """What it prints, when it must go well."""
        done = self(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def sampan(tmp_path: Path) -> Sampan:
    return Sampan(tmp_path)
