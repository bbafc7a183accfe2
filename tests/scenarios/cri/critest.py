"""Kubernetes' suite for CRI runtimes, run on a node."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests import tools

from .node import CriNode


def outcomes(node: CriNode, endpoint: str, *options: str) -> dict[str, str]:
    """Spec -> passed, failed, skipped; skipped are those, too, that were not to be run.

    Args:
        options: of critest and, as `--ginkgo.NAME`, of what it is made with.
    """
    folder = tools.tool("critest")
    assert folder is not None
    report, log = node.folder / "report.json", node.folder / "critest.log"
    leftovers = node.folder / "tmp"  # critest removes not all that it makes
    leftovers.mkdir(exist_ok=True)
    before = segments()
    with log.open("wb") as output:
        subprocess.run(
            [f"{folder}/critest", "-runtime-endpoint", endpoint, "-image-endpoint", endpoint,
             "--ginkgo.no-color", "--ginkgo.seed=1", f"--ginkgo.json-report={report}", *options],
            stdout=output, stderr=output, cwd=node.folder, timeout=3600,
            env={**os.environ, "TMPDIR": str(leftovers)},
        )  # fmt: skip
    for segment in segments() - before:  # critest makes them, to see them, and leaves them
        subprocess.run(["ipcrm", "-m", segment], check=False)
    (suite,) = json.loads(report.read_text())
    return {
        " ".join([*spec["ContainerHierarchyTexts"], spec["LeafNodeText"]]).removeprefix("[k8s.io] "): spec[
            "State"
        ]
        for spec in suite["SpecReports"]
        if spec["LeafNodeType"] == "It"
    }


def of_state(found: dict[str, str], state: str) -> list[str]:
    """The names of the specs that ended so, in order."""
    return sorted(name for name, one in found.items() if one == state)


def segments() -> set[str]:
    """The ids of shared memory of the size that critest makes, which nobody uses."""
    lines = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {words[1] for words in lines if words[3] == "1048576" and words[6] == "0"}
