"""What short commands may import: each module here was weighed; a new one has to be, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Sampan

ALWAYS = {
    "__future__",
    *("os", "stat", "_stat", "posixpath", "genericpath", "_collections_abc"),  # os, as `site` would import it
    "types",
    *("sampan", "sampan.core", "sampan.core.errors", "sampan.core.record", "sampan.core.roots"),
    *("sampan.doors", "sampan.doors.cli", "sampan.doors.cli.context", "sampan.doors.cli.listing"),
    *("sampan.doors.cli.main", "sampan.core.commandline", "sampan.launcher", "gc"),
}


def imported(sampan: Sampan, *words: str) -> set[str]:
    """The modules that a command line imports beyond those of the bare interpreter."""
    command = sampan.command(*words)
    done = subprocess.run(
        [*command[:3], "-X", "importtime", *command[3:]],
        env=sampan.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    bare = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", "pass"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return _names(done.stderr) - _names(bare.stderr)


def _names(report: str) -> set[str]:
    lines = [line for line in report.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines} - {"imported package"}


def test_the_version_imports_nothing_else(sampan: Sampan) -> None:
    assert imported(sampan, "--version") == ALWAYS


def test_the_help_of_a_command_imports_that_command_only(sampan: Sampan) -> None:
    extra = imported(sampan, "completion", "--help") - ALWAYS
    assert extra == {
        "sampan.doors.cli.commands",
        "sampan.doors.cli.commands.completion",
        "sampan.doors.cli.completion",
        "sampan.doors.cli.help",
    }


def test_the_interpreter_s_own_paths_are_enough(sampan: Sampan, tmp_path: Path) -> None:
    """Under -I -S nothing of the current folder or the environment is imported."""
    (tmp_path / "os.py").write_text("raise SystemExit(99)")
    done = sampan("--version", env={"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "os.py")})
    assert done.returncode == 0


@pytest.mark.parametrize("module", ["wasmtime", "rich", "httpx2", "argparse", "re", "json", "typing", "enum"])
def test_heavy_modules_stay_out(sampan: Sampan, module: str) -> None:
    assert module not in imported(sampan, "--version")
