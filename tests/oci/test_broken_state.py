"""Row C23: a container whose documents were damaged is reported, and can be removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Runtime

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the default bundle does")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("content", [b"", b"[]"])
@pytest.mark.parametrize("name", ["container.json", "running.json", "config.json"])
def test_C23_a_damaged_record_is_reported_and_can_be_removed(oci: Runtime, name: str, content: bytes) -> None:
    container_id = oci.running()
    pid = oci.state(container_id)["pid"]
    other = oci.running()
    (oci.root / container_id / name).write_bytes(content)
    oci.refused("state", container_id)
    oci.refused("start", container_id)
    assert other in oci.ok("list", "-q").split()
    oci.ok("delete", "--force", container_id)
    assert not (oci.root / container_id).exists()
    assert not is_running(pid)
    assert oci.state(other)["status"] == "running"
