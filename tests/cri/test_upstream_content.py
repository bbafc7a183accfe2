"""Images taken out of a real containerd's content store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from sampan.core.errors import NotFound, Unavailable, Unimplemented
from sampan.core.roots import Roots
from sampan.core.spec.image import WASM_TO_OCI_CONFIG, WASM_TO_OCI_LAYER
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.images.service import Images
from sampan.doors.cri.images.upstream_content import NAMESPACE, UpstreamContent
from sampan.image.store import ContentStore
from tests.scenarios.conftest import needs
from tests.shim.test_layers import Containerd
from tests.shim.wasm_images import CONFIG, Layout, linux

MODULE = b"\0asm\x01\0\0\0"
NAME = "registry.test/team/app:v1"


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    daemon = Containerd(tmp_path_factory.mktemp("containerd"), None)
    daemon.env["CONTAINERD_NAMESPACE"] = NAMESPACE
    yield daemon
    daemon.daemon.end()


@pytest.fixture
def images(tmp_path: Path, containerd: Containerd) -> Images:
    roots = Roots(str(tmp_path / "data"), str(tmp_path / "run"))
    return Images(roots, upstream=f"unix://{containerd.address}", hosts="", env={"HOME": str(tmp_path)})


def add(containerd: Containerd, folder: Path, name: str = NAME) -> str:
    """An image in containerd with a name and, as its CRI plugin does it, its id for a name; the id."""
    layout = Layout()
    containerd.add(layout.write(folder / "image.tar", name, layout.index(linux(layout))))
    image_id = next(f"sha256:{d}" for d, data in layout.blobs.items() if b'"rootfs"' in data)
    containerd.ok("images", "tag", "--force", name, image_id)
    return image_id


def resolve(images: Images, image: str, user: str = "") -> str:
    with images.hold():
        spec = api.ImageSpec(image=image, user_specified_image=user)
        return images.resolve_for_container(spec).id


@needs("containerd", "ctr")
class TestContainerd:
    def test_an_image_is_taken_by_the_id_that_the_kubelet_has_of_it(
        self, containerd: Containerd, images: Images, tmp_path: Path
    ) -> None:
        image_id = add(containerd, tmp_path)
        assert resolve(images, image_id, "registry.test/team/app:v1") == image_id
        spec = api.ImageSpec(image=NAME)
        found = images.image_status(api.ImageStatusRequest(image=spec)).image
        assert found.id == image_id
        assert list(found.repo_tags) == [NAME]

    def test_it_gets_the_name_that_the_upstream_has_where_its_user_named_none(
        self, containerd: Containerd, images: Images, tmp_path: Path
    ) -> None:
        name = "zebra.test/team/app:v1"  # behind `sha256:…` in containerd's list
        image_id = add(containerd, tmp_path, name)
        containerd.ctr("images", "rm", NAME)
        assert resolve(images, image_id) == image_id
        assert list(images.store.names()) == [name]
        containerd.ctr("images", "rm", name)

    def test_an_image_is_taken_by_its_name(
        self, containerd: Containerd, images: Images, tmp_path: Path
    ) -> None:
        image_id = add(containerd, tmp_path)
        assert resolve(images, NAME) == image_id

    def test_artifacts_that_share_an_id_are_told_apart_by_their_names(
        self, containerd: Containerd, images: Images, tmp_path: Path
    ) -> None:
        digests = {}
        for name, module in (("one", MODULE), ("two", MODULE + b"\0\x02\x01x")):
            layout = Layout()
            config = layout.put(b"{}", WASM_TO_OCI_CONFIG)
            manifest = layout.manifest(config, layout.put(module, WASM_TO_OCI_LAYER))
            full = f"registry.test/wasm/{name}:v1"
            containerd.add(layout.write(tmp_path / f"{name}.tar", full, manifest))
            containerd.ok("images", "tag", "--force", full, config["digest"])
            digests[full] = manifest["digest"], config["digest"]
        for full, (manifest_digest, shared) in digests.items():
            assert resolve(images, shared, full) == manifest_digest

    def test_a_name_that_leads_elsewhere_by_now_gives_way_to_the_id(
        self, containerd: Containerd, images: Images, tmp_path: Path
    ) -> None:
        image_id = add(containerd, tmp_path)
        layout = Layout()
        other = layout.manifest(layout.put(b"{}", WASM_TO_OCI_CONFIG), layout.put(MODULE, WASM_TO_OCI_LAYER))
        containerd.add(layout.write(tmp_path / "other.tar", NAME, other))
        assert resolve(images, image_id, NAME) == image_id

    def test_what_it_has_not_is_not_found(self, containerd: Containerd, tmp_path: Path) -> None:
        store = ContentStore(str(tmp_path / "store"))
        with UpstreamContent(containerd.address) as content, pytest.raises(NotFound):
            content.take("registry.test/none:v1", "sha256:" + "0" * 64, store)
        assert store.names() == {}

    def test_what_it_left_behind_at_the_registry_is_not_found_and_gets_no_name(
        self, containerd: Containerd, tmp_path: Path
    ) -> None:
        layout = Layout()
        wasm = {"os": "wasip1", "architecture": "wasm"}
        absent = Layout().manifest(Layout().put(b"{}", CONFIG), platform=wasm)
        name = "registry.test/both:v1"
        index = layout.index(linux(layout), absent)
        containerd.ok(
            "images", "import", "--no-unpack", str(layout.write(tmp_path / "both.tar", name, index))
        )
        store = ContentStore(str(tmp_path / "store"))
        with UpstreamContent(containerd.address) as content, pytest.raises(NotFound, match=absent["digest"]):
            content.take(name, "", store)
        assert store.names() == {}


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with UpstreamContent(f"{tmp_path}/none.sock") as content, pytest.raises(Unavailable):
        content.target(NAME)


def test_another_server_has_no_such_services(tmp_path: Path) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_insecure_port(f"unix:{tmp_path}/other.sock")
    server.start()
    with UpstreamContent(f"unix://{tmp_path}/other.sock") as content, pytest.raises(Unimplemented):
        content.target(NAME)
    server.stop(None).wait()
