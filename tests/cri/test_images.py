"""CRI's images on our store, with a registry in memory that misbehaves when told to."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sampan.container.records import Container
from sampan.container.store import Containers, new_id
from sampan.core.errors import (
    DataLoss,
    Exhausted,
    Invalid,
    NotFound,
    SampanError,
    TimedOut,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from sampan.core.roots import Roots
from sampan.core.spec.image import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    WASM_TO_OCI_CONFIG,
    WASM_TO_OCI_LAYER,
    Descriptor,
    Manifest,
)
from sampan.core.spec.runtime import OCI_VERSION, Mount, Process, Root, Spec
from sampan.core.strictjson import dumps
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.images.service import Images
from sampan.image.registry.answer import Patience
from sampan.testing import tars
from sampan.testing.registry import Fault, Registry
from sampan.testing.stored import put_index

from ..container.conftest import TOOLBOX
from .conftest import PodWorld

MODULE = b"\0asm\x01\0\0\0"
FAST = Patience(
    connect=2.0, stall=0.3, answer=1.0, deadline=10.0, attempts=2, pause=0.001, longest_pause=0.01
)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots(str(tmp_path / "data"), str(tmp_path / "run"))


@pytest.fixture
def images(roots: Roots, tmp_path: Path) -> Images:
    return Images(roots, hosts=str(tmp_path / "certs.d"), env={"HOME": str(tmp_path)}, patience=FAST)


def add(registry: Registry, repository: str = "team/app", tag: str = "v1", **config: object) -> Descriptor:
    """A container image with one module; what its tag stands for."""
    layer = tars.archive(tars.file("app.wasm", MODULE + config.pop("content", b"")))  # type: ignore[operator]
    stored = registry.add_blob(repository, layer, OCI_LAYER)
    document = {
        "os": "wasip1",
        "architecture": "wasm",
        "config": {"Entrypoint": ["/app.wasm"], "Cmd": ["hello"], **config},
        "rootfs": {"type": "layers", "diff_ids": [stored.digest]},
    }
    settled = registry.add_blob(repository, dumps(document), OCI_CONFIG)
    return registry.add_manifest(repository, tag, dumps(Manifest(2, settled, [stored], OCI_MANIFEST)))


def add_artifact(registry: Registry, repository: str, module: bytes) -> Descriptor:
    """What wasm-to-oci pushes: a module as a layer, and the configuration `{}`."""
    config = registry.add_blob(repository, b"{}", WASM_TO_OCI_CONFIG)
    layer = registry.add_blob(repository, module, WASM_TO_OCI_LAYER)
    return registry.add_manifest(repository, "v1", dumps(Manifest(2, config, [layer], OCI_MANIFEST)))


def pull(images: Images, name: str, **auth: str) -> str:
    request = api.PullImageRequest(image=api.ImageSpec(image=name), auth=api.AuthConfig(**auth))
    return images.pull_image(request).image_ref


def status(images: Images, name: str) -> api.Image | None:
    answer = images.image_status(api.ImageStatusRequest(image=api.ImageSpec(image=name)))
    return answer.image if answer.HasField("image") else None


def listed(images: Images, name: str = "") -> list[api.Image]:
    spec = api.ImageFilter(image=api.ImageSpec(image=name))
    return list(images.list_images(api.ListImagesRequest(filter=spec)).images)


def remove(images: Images, name: str) -> None:
    images.remove_image(api.RemoveImageRequest(image=api.ImageSpec(image=name)))


def put_container(roots: Roots, image_id: str, lower: str, mount: str = "", pod: str = "") -> None:
    container = Container(new_id(), f"c-{new_id()[:6]}", "x", 1, image_id=image_id, lower=lower, pod=pod)
    mounts = [Mount("/volume", "bind", mount, ["bind", "ro"])] if mount else []
    Containers(roots).create(
        container, Spec(OCI_VERSION, Process(["/x"], "/"), Root("rootfs"), mounts=mounts)
    )


class TestWhatIsTold:
    def test_an_image_has_its_configurations_digest_as_id_and_all_its_names(
        self, images: Images, registry: Registry
    ) -> None:
        first = add(registry, tag="v1")
        add(registry, tag="v2")
        add(registry, "other/name", "latest")
        image_id = pull(images, f"{registry.host}/team/app:v1")
        assert pull(images, f"{registry.host}/team/app:v2") == image_id
        assert pull(images, f"{registry.host}/other/name") == image_id
        image = status(images, f"{registry.host}/team/app:v2")
        assert image is not None
        manifest = json.loads(registry.manifests["team/app"]["v1"][0])
        assert image.id == image_id == manifest["config"]["digest"]
        assert sorted(image.repo_tags) == [
            f"{registry.host}/other/name:latest",
            f"{registry.host}/team/app:v1",
            f"{registry.host}/team/app:v2",
        ]
        assert sorted(image.repo_digests) == [
            f"{registry.host}/other/name@{first.digest}",
            f"{registry.host}/team/app@{first.digest}",
        ]
        assert image.size == first.size + sum(d["size"] for d in (manifest["config"], *manifest["layers"]))
        assert not image.pinned
        assert listed(images) == [image]

    def test_an_index_gives_its_own_digest_to_the_name(self, images: Images, registry: Registry) -> None:
        manifest = add(registry, tag="")
        index = put_index(images.store, manifest.replace(platform=None))
        raw = images.store.read(index)
        registry.add_manifest("team/app", "multi", raw, index.media_type)
        pull(images, f"{registry.host}/team/app:multi")
        image = status(images, f"{registry.host}/team/app:multi")
        assert image is not None
        assert list(image.repo_digests) == [f"{registry.host}/team/app@{index.digest}"]
        assert status(images, f"{registry.host}/team/app@{index.digest}") == image

    @pytest.mark.parametrize(
        ("user", "uid", "name"),
        [
            ("", None, ""),
            ("1002", 1002, ""),
            ("1003:1004", 1003, ""),
            ("www-data", None, "www-data"),
            ("www-data:www", None, "www-data"),
            ("0", 0, ""),
            ("99999999999", None, "99999999999"),
        ],
    )
    def test_the_user_is_a_number_or_a_name(
        self, images: Images, registry: Registry, user: str, uid: int | None, name: str
    ) -> None:
        add(registry, User=user)
        pull(images, f"{registry.host}/team/app:v1")
        image = status(images, f"{registry.host}/team/app:v1")
        assert image is not None
        assert (image.uid.value if image.HasField("uid") else None) == uid
        assert image.username == name

    def test_an_image_is_found_by_tag_digest_id_and_the_beginning_of_it(
        self, images: Images, registry: Registry
    ) -> None:
        top = add(registry)
        name = f"{registry.host}/team/app"
        image_id = pull(images, f"{name}:v1")
        for text in (f"{name}:v1", f"{name}@{top.digest}", f"{name}:v1@{top.digest}", image_id,
                     image_id.removeprefix("sha256:"), image_id[:20]):  # fmt: skip
            found = status(images, text)
            assert found is not None, text
            assert found.id == image_id
            assert [image.id for image in listed(images, text)] == [image_id]

    @pytest.mark.parametrize("text", ["no/such:image", "sha256:" + "0" * 64, "ffff", "A b", "x@sha256:12"])
    def test_what_is_not_here_is_no_error(self, images: Images, text: str) -> None:
        assert status(images, text) is None
        assert listed(images, text) == []
        remove(images, text)

    def test_no_name_at_all_is_an_error(self, images: Images) -> None:
        for call in (lambda: status(images, ""), lambda: remove(images, ""), lambda: pull(images, "")):
            with pytest.raises(Invalid, match="names no image"):
                call()

    def test_verbose_tells_the_configuration(self, images: Images, registry: Registry) -> None:
        add(registry, Env=["A=b"])
        pull(images, f"{registry.host}/team/app:v1")
        spec = api.ImageSpec(image=f"{registry.host}/team/app:v1")
        answer = images.image_status(api.ImageStatusRequest(image=spec, verbose=True))
        info = json.loads(answer.info["info"])
        assert info["imageSpec"]["config"]["Env"] == ["A=b"]

    def test_artifacts_with_one_configuration_are_two_images(
        self, images: Images, registry: Registry
    ) -> None:
        one = add_artifact(registry, "wasm/one", MODULE)
        two = add_artifact(registry, "wasm/two", MODULE + b"\0\x02\x01x")
        ids = [pull(images, f"{registry.host}/wasm/{name}:v1") for name in ("one", "two")]
        assert ids == [one.digest, two.digest]
        assert sorted(image.id for image in listed(images)) == sorted(ids)
        remove(images, ids[0])
        assert [image.id for image in listed(images)] == [ids[1]]

    def test_images_of_the_command_lines_containers_are_pinned(
        self, images: Images, registry: Registry, roots: Roots
    ) -> None:
        add(registry)
        add(registry, "team/other", content=b"\0\x02\x01y")
        mine, theirs = (pull(images, f"{registry.host}/team/{name}:v1") for name in ("app", "other"))
        put_container(roots, mine, "", pod="p" * 64)
        put_container(roots, theirs, "")
        assert {image.id: image.pinned for image in listed(images)} == {mine: False, theirs: True}

    def test_a_damaged_image_does_not_hide_the_others(self, images: Images, registry: Registry) -> None:
        bad = add(registry, "team/bad", content=b"\0\x02\x01z")
        add(registry)
        pull(images, f"{registry.host}/team/bad:v1")
        good = pull(images, f"{registry.host}/team/app:v1")
        path = Path(images.store.path(bad.digest))
        path.chmod(0o600)
        path.write_bytes(b"x" * bad.size)
        assert [image.id for image in listed(images)] == [good]
        with pytest.raises(DataLoss):
            status(images, f"{registry.host}/team/bad:v1")

    def test_the_filesystem_says_where_and_how_much(
        self, images: Images, registry: Registry, roots: Roots
    ) -> None:
        add(registry, content=bytes(200_000))
        pull(images, f"{registry.host}/team/app:v1")
        answer = images.image_fs_info(api.ImageFsInfoRequest())
        for filesystem in (*answer.image_filesystems, *answer.container_filesystems):
            assert filesystem.fs_id.mountpoint == roots.data
            assert filesystem.used_bytes.value >= 400_000  # the layer, and the unpacked file
            assert filesystem.inodes_used.value > 5
        assert len(answer.image_filesystems) == len(answer.container_filesystems) == 1

    def test_an_empty_store_is_told_too(self, images: Images) -> None:
        assert listed(images) == []
        assert images.image_fs_info(api.ImageFsInfoRequest()).image_filesystems[0].timestamp > 0


class TestPulls:
    def test_K11_many_pulls_of_one_image_are_one_download(self, images: Images, registry: Registry) -> None:
        add(registry, content=bytes(300_000))
        registry.fault(Fault("/blobs/", times=2, pause=0.05, piece=100_000))
        name = f"{registry.host}/team/app:v1"
        with ThreadPoolExecutor(50) as pool:
            ids = set(pool.map(lambda _: pull(images, name), range(50)))
        assert len(ids) == 1
        assert len(registry.seen("GET", "/blobs/")) == 2  # the layer and the configuration

    def test_K11_a_registry_that_stalls_is_given_up(self, images: Images, registry: Registry) -> None:
        add(registry, content=bytes(200_000))
        registry.fault(Fault("/blobs/", times=-1, pause=1.0, piece=1000))
        with pytest.raises((TimedOut, Unavailable)):
            pull(images, f"{registry.host}/team/app:v1")
        assert listed(images) == []

    def test_K11_a_pull_that_nobody_waits_for_is_given_up(self, images: Images, registry: Registry) -> None:
        add(registry, content=bytes(4_000_000))
        registry.fault(Fault("/blobs/", times=-1, pause=0.05, piece=20_000))
        request = api.PullImageRequest(image=api.ImageSpec(image=f"{registry.host}/team/app:v1"))
        with pytest.raises(Unavailable, match="hung up"):
            images.pull_image(request, lambda: bool(registry.seen("GET", "/blobs/")))
        for thread in threading.enumerate():
            if thread.name == "pull":
                thread.join(20)
        assert listed(images) == []
        registry.faults.clear()
        assert images.pull_image(request).image_ref == listed(images)[0].id

    def test_K11_one_caller_that_hangs_up_does_not_take_the_pull_from_another(
        self, images: Images, registry: Registry
    ) -> None:
        add(registry, content=bytes(400_000))
        registry.fault(Fault("/blobs/", times=2, pause=0.1, piece=40_000))
        request = api.PullImageRequest(image=api.ImageSpec(image=f"{registry.host}/team/app:v1"))
        with ThreadPoolExecutor(2) as pool:
            stays = pool.submit(images.pull_image, request)
            goes = pool.submit(images.pull_image, request, lambda: bool(registry.seen("GET", "/blobs/")))
            with pytest.raises(Unavailable):
                goes.result()
            assert stays.result().image_ref == listed(images)[0].id

    @pytest.mark.parametrize("auth", ["basic", "token"])
    @pytest.mark.parametrize("how", ["user", "base64"])
    def test_the_callers_credentials_are_used(self, images: Images, auth: str, how: str) -> None:
        both = base64.b64encode(b"ann:secret").decode()
        given = {"username": "ann", "password": "secret"} if how == "user" else {"auth": both}
        with Registry(auth=auth, users={"ann": "secret"}) as private:
            add(private)
            name = f"{private.host}/team/app:v1"
            if auth == "basic":
                with pytest.raises(Unauthenticated):
                    pull(images, name)
                with pytest.raises(Unauthenticated):
                    pull(images, name, username="ann", password="wrong")
            assert pull(images, name, **given) == listed(images)[0].id
            if auth == "token":
                asked = [r.headers.get("authorization", "") for r in private.seen("GET", "/token")]
                assert f"Basic {both}" in asked

    def test_an_identity_token_and_a_registry_token_are_used(self, images: Images) -> None:
        with Registry(auth="token") as private:
            add(private)
            private.identity_tokens.add("identity")
            pull(images, f"{private.host}/team/app:v1", identity_token="identity")
            assert private.seen("POST", "/token")
        with Registry(auth="token") as private:
            add(private)
            private.tokens["registry"] = ["repository:team/app:pull"]
            pull(images, f"{private.host}/team/app:v1", registry_token="registry")
            assert private.seen("", "/token") == []

    def test_credentials_for_another_server_stay_at_home(self, images: Images) -> None:
        with Registry(auth="basic", users={"ann": "secret"}) as private:
            add(private)
            with pytest.raises(Unauthenticated):
                pull(images, f"{private.host}/team/app:v1", username="ann", password="secret",
                     server_address="https://index.docker.io/v1/")  # fmt: skip
            assert not any("authorization" in r.headers for r in private.requests)
            pull(images, f"{private.host}/team/app:v1", username="ann", password="secret",
                 server_address=f"http://{private.host}/v2/")  # fmt: skip

    @pytest.mark.parametrize("auth", ["!!!", base64.b64encode(b"no colon").decode(), "\u00e9"])
    def test_K11_malformed_credentials_are_refused_and_not_shown(self, images: Images, auth: str) -> None:
        with pytest.raises(Invalid) as caught:
            pull(images, "registry.test/x:v1", auth=auth)
        assert auth not in str(caught.value)

    def test_the_nodes_own_credentials_count_where_the_call_has_none(
        self, images: Images, tmp_path: Path
    ) -> None:
        with Registry(auth="basic", users={"ann": "secret"}) as private:
            add(private)
            (tmp_path / ".docker").mkdir(mode=0o700)
            both = base64.b64encode(b"ann:secret").decode()
            config = tmp_path / ".docker" / "config.json"
            config.write_text(json.dumps({"auths": {private.host: {"auth": both}}}))
            assert pull(images, f"{private.host}/team/app:v1")

    @pytest.mark.parametrize("name", ["sha256:" + "1" * 64, "UPPER/case:x", "a b", "x:y:z", "/x"])
    def test_what_is_no_name_is_refused(self, images: Images, name: str) -> None:
        with pytest.raises(Invalid):
            pull(images, name)

    def test_what_the_registry_does_not_have_is_not_found(self, images: Images, registry: Registry) -> None:
        with pytest.raises(NotFound):
            pull(images, f"{registry.host}/team/none:v1")

    def test_a_mirror_of_certs_d_is_asked(self, images: Images, registry: Registry, tmp_path: Path) -> None:
        top = add(registry, "library/hello", "latest")
        folder = tmp_path / "certs.d" / "docker.io"
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'[host."{registry.url}"]\ncapabilities = ["pull", "resolve"]\n')
        pull(images, "hello")
        image = status(images, "docker.io/library/hello:latest")
        assert image is not None
        assert list(image.repo_digests) == [f"docker.io/library/hello@{top.digest}"]

    def test_a_pull_by_digest_has_no_tag(self, images: Images, registry: Registry) -> None:
        top = add(registry)
        name = f"{registry.host}/team/app"
        pull(images, f"{name}:v1@{top.digest}")
        image = status(images, f"{name}@{top.digest}")
        assert image is not None
        assert list(image.repo_tags) == []
        assert list(image.repo_digests) == [f"{name}@{top.digest}"]
        assert status(images, f"{name}:v1") is None


def test_X1_a_full_disk_costs_the_pull_only_and_space_brings_it_back(
    registry: Registry, tmp_path: Path
) -> None:
    data = tmp_path / "small"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(data)], check=True)
    try:
        images = Images(Roots(str(data / "data"), str(tmp_path / "run")), hosts="", env={}, patience=FAST)
        add(registry, "team/small")
        small = pull(images, f"{registry.host}/team/small:v1")
        add(registry, content=bytes(1_000_000))
        (data / "filler").write_bytes(bytes(1_500_000))
        with pytest.raises(Exhausted, match="No space left"):
            pull(images, f"{registry.host}/team/app:v1")
        assert small in [image.id for image in listed(images)]
        (data / "filler").unlink()
        assert resolve(images, pull(images, f"{registry.host}/team/app:v1")).entrypoint == ["/app.wasm"]
    finally:
        subprocess.run(["umount", str(data)], check=True)


class TestRemoval:
    @pytest.mark.parametrize("by", ["id", "tag", "digest"])
    def test_K2_all_names_go_and_so_does_the_content_and_twice_is_fine(
        self, images: Images, registry: Registry, by: str
    ) -> None:
        top = add(registry)
        add(registry, tag="v2")
        name = f"{registry.host}/team/app"
        image_id = pull(images, f"{name}:v1")
        pull(images, f"{name}:v2")
        text = {"id": image_id, "tag": f"{name}:v2", "digest": f"{name}@{top.digest}"}[by]
        remove(images, text)
        remove(images, text)
        assert listed(images) == []
        assert images.snapshots.all() == []
        assert not images.store.has(top.digest)

    def test_what_containers_use_stays_unpacked(
        self, images: Images, registry: Registry, roots: Roots
    ) -> None:
        for name, content in (("app", b""), ("volume", b"\0\x02\x01v")):
            add(registry, f"team/{name}", content=content)
            pull(images, f"{registry.host}/team/{name}:v1")
        lower, volume = (resolve(images, f"{registry.host}/team/{n}:v1").rootfs for n in ("app", "volume"))
        put_container(roots, "", lower, mount=f"{volume}/app.wasm", pod="p" * 64)
        for image in listed(images):
            remove(images, image.id)
        assert sorted(s.path for s in images.snapshots.all()) == sorted([lower, volume])

    def test_an_image_that_cannot_be_run_is_listed_and_does_not_keep_others_from_being_removed(
        self, images: Images, registry: Registry
    ) -> None:
        config = registry.add_blob("chart", b"{}", "application/vnd.cncf.helm.config.v1+json")
        layer = registry.add_blob("chart", b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
        registry.add_manifest("chart", "v1", dumps(Manifest(2, config, [layer], OCI_MANIFEST)))
        with pytest.raises((Unimplemented, Invalid)):
            pull(images, f"{registry.host}/chart:v1")
        add(registry)
        image_id = pull(images, f"{registry.host}/team/app:v1")
        (chart,) = (image for image in listed(images) if image.id != image_id)
        spec = api.ImageSpec(image=chart.id)
        assert images.image_status(api.ImageStatusRequest(image=spec, verbose=True)).info["info"]
        remove(images, image_id)
        assert listed(images) == [chart]
        assert images.snapshots.all() == []
        remove(images, chart.id)
        assert listed(images) == []

    def test_K2_removed_by_many_at_once(self, images: Images, registry: Registry) -> None:
        add(registry)
        image_id = pull(images, f"{registry.host}/team/app:v1")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: remove(images, image_id), range(16)))
        assert listed(images) == []


def resolve(images: Images, image: str, user: str = ""):
    with images.hold():
        return images.resolve_for_container(api.ImageSpec(image=image, user_specified_image=user))


class TestForContainers:
    def test_a_pulled_image_is_resolved_by_its_id(self, images: Images, registry: Registry) -> None:
        top = add(registry, Env=["A=b"])
        name = f"{registry.host}/team/app:v1"
        image_id = pull(images, name)
        found = resolve(images, image_id, name)
        assert (found.id, found.name) == (image_id, name)
        assert found.ref == f"{registry.host}/team/app@{top.digest}"
        assert (found.entrypoint, found.command) == (["/app.wasm"], ["hello"])
        assert found.config.env == ["A=b"]
        assert str(found.platform) == "wasip1/wasm"
        assert found.modules == []
        assert Path(found.rootfs, "app.wasm").read_bytes() == MODULE

    def test_an_artifact_begins_with_its_module(self, images: Images, registry: Registry) -> None:
        add_artifact(registry, "wasm/one", MODULE)
        pull(images, f"{registry.host}/wasm/one:v1")
        found = resolve(images, f"{registry.host}/wasm/one:v1")
        assert found.modules == found.entrypoint == ["/module.wasm"]
        assert found.command == []
        assert found.media_type == WASM_TO_OCI_LAYER
        assert Path(found.rootfs, "module.wasm").read_bytes() == MODULE

    def test_an_image_that_is_not_here_is_pulled_by_the_users_name(
        self, images: Images, registry: Registry
    ) -> None:
        add(registry)
        name = f"{registry.host}/team/app:v1"
        assert resolve(images, "sha256:" + "1" * 64, name).id == listed(images)[0].id

    def test_an_id_that_nobody_knows_is_not_found(self, images: Images) -> None:
        with pytest.raises(NotFound, match="pull it by its name"):
            resolve(images, "sha256:" + "1" * 64)

    def test_an_upstream_that_is_away_leaves_the_registry(
        self, roots: Roots, registry: Registry, tmp_path: Path
    ) -> None:
        add(registry)
        images = Images(roots, upstream=f"unix://{tmp_path}/none.sock", hosts="", env={}, patience=FAST)
        assert resolve(images, f"{registry.host}/team/app:v1").entrypoint == ["/app.wasm"]
        with pytest.raises(SampanError):
            resolve(images, f"{registry.host}/team/none:v1")


def test_an_image_as_a_volume_is_brought_here_like_a_containers_own(
    world: PodWorld, registry: Registry
) -> None:
    layer = tars.archive(tars.file("toolbox.wasm", TOOLBOX.read_bytes()))
    stored = registry.add_blob("tool", layer, OCI_LAYER)
    document = {
        "os": "wasip1",
        "architecture": "wasm",
        "rootfs": {"type": "layers", "diff_ids": [stored.digest]},
    }
    config = registry.add_blob("tool", dumps(document), OCI_CONFIG)
    registry.add_manifest("tool", "v1", dumps(Manifest(2, config, [stored], OCI_MANIFEST)))
    add(registry, "team/volume", content=b"\0\x02\x01v")
    images = Images(world.roots, hosts="", env={}, patience=FAST)
    world.images = images  # type: ignore[assignment]
    world.restart()
    pod = world.run_pod()
    elsewhere = api.ImageSpec(
        image="sha256:" + "1" * 64, user_specified_image=f"{registry.host}/team/volume:v1"
    )
    container = world.start_new(
        pod,
        "ls",
        "/volume",
        command=["/toolbox.wasm"],
        image=api.ImageSpec(image=f"{registry.host}/tool:v1"),
        mounts=[api.Mount(container_path="/volume", image=elsewhere)],
    )
    assert world.ended(container).exit_code == 0
    assert world.output(world.runtime.container(container)).split() == [b"app.wasm"]
    for image in listed(images):
        remove(images, image.id)
    assert len(images.snapshots.all()) == 2  # both are in use
