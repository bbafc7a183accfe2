"""The validation programs of runtime-tools: what runc passes, `sampan-oci` passes.

Their bundles hold Linux programs, so this is about the way to the runtime for Linux containers. As a rule the
programs of a container's life are run; `SAMPAN_SWEEP=full` runs all.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import runtime_tools

START = Path(__file__).parents[2] / "src" / "sampan" / "doors" / "oci" / "__main__.py"
FULL = os.environ.get("SAMPAN_SWEEP") == "full"


def best_of_two(tools: Path, program: str, runtime: list[str]) -> runtime_tools.Result:
    """Some of the programs race with the container that they kill; none does so twice."""
    result = runtime_tools.run(tools, program, runtime)
    return result if result.passed else runtime_tools.run(tools, program, runtime)


@pytest.mark.timeout(1800)
@pytest.mark.skipif(os.geteuid() != 0, reason="the bundles have no user namespaces, so they need root")
@pytest.mark.skipif(not shutil.which("runc"), reason="runc is not installed")
@pytest.mark.skipif(not runtime_tools.go(), reason="the programs are built by the Go toolchain")
def test_what_runc_passes_passes() -> None:
    tools = runtime_tools.install()
    chosen = runtime_tools.programs(tools) if FULL else runtime_tools.LIFECYCLE
    assert len(chosen) == (58 if FULL else 10)
    ours = [sys.executable, "-I", "-S", str(START)]
    passed = [p for p in chosen if runtime_tools.run(tools, p, ["runc"]).passed]
    assert len(passed) > len(chosen) // 3, "runc itself does not work here"
    results = [best_of_two(tools, program, ours) for program in passed]
    failed = [f"{result.program}:\n{result.output}" for result in results if not result.passed]
    assert not failed, "\n".join(failed)
