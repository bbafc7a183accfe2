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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("container.json", b""), ("config.json", b""),
        ("container.json", b"[]"), ("config.json", b"[]"), ("running.json", b"[]"),
    ],
)  # fmt: skip
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


def test_C23_a_process_that_is_not_on_record_yet_ends_with_its_container(oci: Runtime) -> None:
    container_id = oci.running()
    pid = oci.state(container_id)["pid"]
    (oci.root / container_id / "running.json").write_bytes(b"")
    assert oci.state(container_id)["status"] == "creating"
    oci.ok("delete", "--force", container_id)
    assert not (oci.root / container_id).exists()
    assert not is_running(pid)
