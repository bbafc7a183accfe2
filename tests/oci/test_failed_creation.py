"""A creation that fails late takes everything back that it had made by then."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .conftest import Runtime

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the default bundle does")


@pytest.mark.parametrize("hook", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_leaves_no_cgroup(oci: Runtime, hook: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["hooks"] = {hook: [{"path": "/bin/false"}]}

    container_id = oci.new_id()
    assert "exited with 1" in oci.refused("create", "-b", str(oci.bundle(change=change)), container_id)
    assert not list(Path("/sys/fs/cgroup").rglob(container_id))
