"""The ImageService beside containerd's own: the same registry, the same calls, the same answers."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sampan.core.digest import digest_of
from sampan.core.errors import SampanError
from sampan.core.reference import parse_reference
from sampan.core.roots import Roots
from sampan.core.spec.image import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest, Platform
from sampan.core.strictjson import dumps
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.images.service import Images
from sampan.image.registry.credentials import Credential, Credentials
from sampan.image.registry.settings import Settings
from sampan.image.registry.transfer import Registry
from sampan.image.store import ContentStore
from sampan.testing import tars
from sampan.testing.stored import put_index
from tests.image.registry.test_real_registry import Server, needs_registry, server
from tests.scenarios.shim.pods.conftest import PEERS

from .node import CriNode

__all__ = ["server"]
pytestmark = [needs_registry, *PEERS]
AUTH = api.AuthConfig(username="ann", password="secret")


def put_linux(store: ContentStore, content: bytes, **config: object) -> Descriptor:
    """An image for this host's platform."""
    tar = tars.archive(tars.file("etc/motd", content))
    layer = store.put(gzip.compress(tar, mtime=0), OCI_LAYER_GZIP)
    rootfs = {"type": "layers", "diff_ids": [str(digest_of(tar))]}
    document = {"os": "linux", "architecture": "amd64", "config": config, "rootfs": rootfs}
    settled = store.put(dumps(document), OCI_CONFIG)
    return store.put(dumps(Manifest(2, settled, [layer], OCI_MANIFEST)), OCI_MANIFEST)


@pytest.fixture(scope="module")
def names(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Descriptor]:
    """What is at the registry: one image with two tags and a second repository, one with an index, one with a user."""
    folder = tmp_path_factory.mktemp("pusher")
    store = ContentStore(str(folder / "store"))
    plain = put_linux(store, b"plain")
    user = put_linux(store, b"user", User="1002:1003")
    named = put_linux(store, b"named", User="www-data")
    index = put_index(store, put_linux(store, b"index").replace(platform=Platform("amd64", "linux")))
    found = {"team/app:v1": plain, "team/app:v2": plain, "other/app:v1": plain, "team/user:v1": user,
             "team/named:v1": named, "team/index:v1": index}  # fmt: skip
    credentials = Credentials([str(folder / "config.json")])
    with Registry(Settings(certificate_folders=[server.certificates]), credentials) as registry:
        registry.login(server.host, Credential("ann", "secret"))
        for name, descriptor in found.items():
            registry.push(store, descriptor, parse_reference(f"{server.host}/{name}"))
    return found


class Theirs:
    """containerd's ImageService."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(f"unix://{address}")

    def call(self, name: str, request: Any, answer: type[Any]) -> Any:
        method = self._channel.unary_unary(f"/runtime.v1.ImageService/{name}")
        return answer.FromString(method(request.SerializeToString(), timeout=60))

    def close(self) -> None:
        self._channel.close()


class Both:
    """Every call to both; what each says."""

    def __init__(self, theirs: Theirs, ours: Images, host: str) -> None:
        self.theirs = theirs
        self.ours = ours
        self.host = host

    def pull(self, name: str) -> list[str]:
        request = api.PullImageRequest(image=api.ImageSpec(image=f"{self.host}/{name}"), auth=AUTH)
        theirs = self.theirs.call("PullImage", request, api.PullImageResponse)
        return [theirs.image_ref, self.ours.pull_image(request).image_ref]

    def status(self, text: str) -> list[dict[str, object]]:
        request = api.ImageStatusRequest(image=api.ImageSpec(image=text))
        theirs = self.theirs.call("ImageStatus", request, api.ImageStatusResponse)
        return [told(theirs.image), told(self.ours.image_status(request).image)]

    def listed(self) -> list[list[dict[str, object]]]:
        request = api.ListImagesRequest()
        both = [
            self.theirs.call("ListImages", request, api.ListImagesResponse),
            self.ours.list_images(request),
        ]
        return [
            sorted((told(i) for i in answer.images), key=lambda image: str(image["id"])) for answer in both
        ]

    def remove(self, text: str) -> None:
        request = api.RemoveImageRequest(image=api.ImageSpec(image=text))
        self.theirs.call("RemoveImage", request, api.RemoveImageResponse)
        self.ours.remove_image(request)


def told(image: api.Image) -> dict[str, object]:
    """An image as a kubelet sees it. The order of names says nothing."""
    return {
        "id": image.id,
        "tags": sorted(image.repo_tags),
        "digests": sorted(image.repo_digests),
        "size": image.size,
        "uid": image.uid.value if image.HasField("uid") else None,
        "username": image.username,
        "pinned": image.pinned,
    }


@pytest.fixture(scope="module")
def hosts(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `certs.d` for both; without it containerd takes a registry of this machine for one without TLS."""
    folder = tmp_path_factory.mktemp("certs.d")
    (folder / server.host).mkdir()
    url, ca = f"https://{server.host}", f"{server.certificates}/{server.host}/ca.crt"
    (folder / server.host / "hosts.toml").write_text(f'server = "{url}"\n[host."{url}"]\nca = "{ca}"\n')
    return folder


@pytest.fixture(scope="module")
def node(hosts: Path) -> Iterator[CriNode]:
    folder = Path(f"/tmp/cri-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    node = CriNode(folder, None, hosts=hosts)
    try:
        node.begin_containerd()
        yield node
    finally:
        node.close()


@pytest.fixture
def both(node: CriNode, server: Server, hosts: Path, tmp_path: Path) -> Iterator[Both]:
    roots = Roots(str(tmp_path / "data"), str(tmp_path / "run"))
    ours = Images(roots, hosts=str(hosts), env={"HOME": str(tmp_path)})
    both = Both(Theirs(node.address), ours, server.host)
    yield both
    for image in both.listed()[0]:
        both.remove(str(image["id"]))
    both.theirs.close()


def same(answers: list[Any]) -> Any:
    theirs, ours = answers
    assert ours == theirs
    return ours


def test_pulled_images_are_told_as_containerd_tells_them(both: Both, names: dict[str, Descriptor]) -> None:
    for name in names:
        same(both.pull(name))
    images = same(both.listed())
    assert len(images) == 4
    for name, descriptor in names.items():
        repository = name.partition(":")[0]
        image = same(both.status(f"{both.host}/{name}"))
        assert same(both.status(f"{both.host}/{repository}@{descriptor.digest}")) == image
        assert same(both.status(str(image["id"]))) == image


def test_a_pull_by_digest_is_told_as_containerd_tells_it(both: Both, names: dict[str, Descriptor]) -> None:
    digest = names["team/index:v1"].digest
    same(both.pull(f"team/index@{digest}"))
    assert same(both.listed())[0]["tags"] == []
    same(both.pull(f"team/index:v1@{digest}"))
    assert same(both.listed())[0]["tags"] == []


@pytest.mark.parametrize("how", ["id", "tag", "digest"])
def test_what_is_removed_is_gone_at_both(both: Both, names: dict[str, Descriptor], how: str) -> None:
    for name in names:
        both.pull(name)
    image = same(both.status(f"{both.host}/team/app:v1"))
    digest = names["team/app:v1"].digest
    texts = {
        "id": image["id"],
        "tag": f"{both.host}/team/app:v1",
        "digest": f"{both.host}/other/app@{digest}",
    }
    for _ in range(2):
        both.remove(str(texts[how]))
        assert len(same(both.listed())) == 3
        assert same(both.status(str(image["id"])))["id"] == ""


@pytest.mark.parametrize(
    "text", ["registry.test/none:v1", "sha256:" + "0" * 64, "0" * 64, "abcdef", "UPPER", "a b"]
)
def test_what_is_not_there_is_told_alike(both: Both, text: str) -> None:
    assert same(both.status(text))["id"] == ""
    both.remove(text)


def outcome(call: Callable[[], object]) -> bool:
    try:
        call()
    except (SampanError, grpc.RpcError):
        return False
    return True


@pytest.mark.parametrize(
    ("auth", "is_good"),
    [
        ({"username": "ann", "password": "secret"}, True),
        ({"auth": "YW5uOnNlY3JldA=="}, True),
        ({"username": "ann", "password": "wrong"}, False),
        ({}, False),
        ({"auth": "!"}, False),
        ({"username": "ann", "password": "secret", "server_address": "https://{host}"}, True),
        ({"username": "ann", "password": "secret", "server_address": "https://other.test"}, False),
    ],
)
def test_credentials_count_as_with_containerd(
    both: Both, names: dict[str, Descriptor], auth: dict[str, str], is_good: bool
) -> None:
    given = {key: value.format(host=both.host) for key, value in auth.items()}
    spec = api.ImageSpec(image=f"{both.host}/team/app:v1")
    request = api.PullImageRequest(image=spec, auth=api.AuthConfig(**given))
    assert outcome(lambda: both.theirs.call("PullImage", request, api.PullImageResponse)) is is_good
    assert outcome(lambda: both.ours.pull_image(request)) is is_good
