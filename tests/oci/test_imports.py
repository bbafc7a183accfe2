"""What the commands that callers wait for may import: each module here was weighed; a new one has to be, too."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import Runtime

ALWAYS = {
    "__future__",
    *("os", "stat", "_stat", "posixpath", "genericpath", "_collections_abc"),  # os, as `site` would import it
    *("gc", "types"),
    *("sampan", "sampan.launcher", "sampan.core", "sampan.core.commandline", "sampan.core.errors"),
    *("sampan.core.record", "sampan.core.roots", "sampan.core.strictjson", "sampan.core.units", "_json"),
    *("sampan.doors", "sampan.doors.oci", "sampan.doors.oci.context", "sampan.doors.oci.listing"),
    "sampan.doors.oci.main",
}
HEAVY = {
    *(
        "ctypes",
        "_ctypes",
        "json",
        "re",
        "argparse",
        "socket",
        "subprocess",
        "threading",
        "enum",
        "dataclasses",
    ),
    *("typing", "pathlib", "tempfile", "shutil", "logging", "asyncio", "contextlib", "signal", "inspect"),
    *(
        "sampan.engine.binding",
        "sampan.engine.program",
        "sampan.container.workload",
        "sampan.container.walls",
    ),
}


def imported(oci: Runtime, *words: str) -> set[str]:
    """The modules that a command line imports beyond those of the bare interpreter."""
    command = oci.command(*words)
    done = subprocess.run(
        [*command[:3], "-X", "importtime", *command[3:]],
        env=oci.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    bare = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", "pass"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return _names(done.stderr) - _names(bare.stderr)


def _names(report: str) -> set[str]:
    lines = [line for line in report.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines} - {"imported package"}


def test_the_version_imports_nothing_else(oci: Runtime) -> None:
    assert imported(oci, "--version") - {"sampan.core.spec", "sampan.core.spec.runtime"} == ALWAYS | {
        "sampan.doors.oci.features"
    }


@pytest.mark.parametrize("words", [("state",), ("kill", "0"), ("delete", "--force")])
def test_what_callers_wait_for_imports_nothing_heavy(oci: Runtime, words: tuple[str, ...]) -> None:
    name, *rest = words
    container_id = oci.running()
    operands = [container_id, *rest] if name == "kill" else [*rest, container_id]
    if name == "kill":
        operands[1] = "CONT"
    assert imported(oci, name, *operands) & HEAVY == set()
