"""Which unpacked images are in use."""

from __future__ import annotations

from pathlib import Path

from sampan.container.lowers import lowers
from sampan.container.records import Container
from sampan.container.store import Containers
from sampan.core.roots import Roots
from sampan.core.spec.runtime import OCI_VERSION, Mount, Process, Root, Spec


def test_root_filesystems_and_mounts_count_and_broken_containers_do_not(tmp_path: Path) -> None:
    roots = Roots(str(tmp_path / "data"), str(tmp_path / "run"))
    folder = f"{roots.images}/snapshots"
    containers = Containers(roots)

    def put(name: str, lower: str = "", mount: str = "") -> str:
        mounts = [Mount("/v", "bind", mount)] if mount else []
        spec = Spec(OCI_VERSION, Process(["/x"], "/"), Root("rootfs"), mounts=mounts)
        return containers.create(Container(f"id-{name}", name, "x", 1, lower=lower), spec).folder

    put("a", f"{folder}/sha256-1")
    put("b", f"{folder}/sha256-1", f"{folder}/sha256-2/sub/folder")
    put("c", "/somewhere/else", "/tmp")
    broken = put("d", f"{folder}/sha256-3", f"{folder}/sha256-4")
    Path(broken, "config.json").write_text("{")
    assert lowers(roots, folder) == ["sha256-1", "sha256-2", "sha256-3"]
