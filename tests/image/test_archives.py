"""Archives and layouts, in and out: our own, by skopeo, podman, buildah and ctr, old and hostile ones."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time

import pytest

from sampan.core.digest import digest_of
from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, SampanError
from sampan.core.spec.image import OCI_INDEX, OCI_MANIFEST
from sampan.image.archives import load, split_transport
from sampan.image.build.builder import build_module
from sampan.image.build.options import Options
from sampan.image.images import find_image
from sampan.image.layerwriter import read_tree
from sampan.image.saving import save
from sampan.image.store import ContentStore

MODULE = b"\0asm\x01\0\0\0"
ALL = ("oci", "docker", "wasm-to-oci", "cncf", "runwasi")


def needs(*programs):
    missing = [p for p in programs if shutil.which(p) is None]
    reason = f"needs {', '.join(missing)}" if missing else "needs root"
    return pytest.mark.skipif(bool(missing) or os.getuid() != 0, reason=reason)


def call(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def other(tmp_path):
    return ContentStore(str(tmp_path / "other"))


@pytest.fixture
def podman(tmp_path):
    """A podman (or buildah) with a storage of its own, taken down with its mounts."""
    short = tempfile.mkdtemp(prefix="sp")  # podman wants at most 50 characters
    roots = ["--root", f"{short}/r", "--runroot", f"{short}/u", "--storage-driver", "vfs"]

    def run(program, *words):
        return call(program, *roots, *words, cwd=tmp_path)

    yield run
    shutil.rmtree(short)


def built(store, module, name="oci", tag="hello"):
    return build_module(store, module, Options(tags=[tag], format=name, epoch=0))


def saved(store, images, path, name="oci-archive"):
    save(store, images, str(path), name)
    return str(path)


# Our own, there and back


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("form", ["oci-archive", "oci-dir"])
def test_saved_images_load_the_same(store, other, module, tmp_path, name, form):
    image = built(store, module, name)
    path = saved(store, [image], tmp_path / "out", form)
    assert load(other, path) == ["docker.io/library/hello:latest"]
    again = find_image(other, "hello")
    assert (again.id, again.descriptor) == (image.id, image.descriptor)
    assert read_tree(other, again).entries["hello.wasm"].read() == MODULE


@pytest.mark.parametrize("squeeze", [gzip.compress, lambda d: __import__("lzma").compress(d)])
def test_compressed_archives_and_streams(store, other, module, tmp_path, squeeze):
    path = saved(store, [built(store, module)], tmp_path / "x.tar")
    with open(path, "rb") as file:
        data = squeeze(file.read())
    assert load(other, io.BytesIO(data)) == ["docker.io/library/hello:latest"]
    (tmp_path / "y.tgz").write_bytes(data)
    assert load(other, f"oci-archive:{tmp_path / 'y.tgz'}") == ["docker.io/library/hello:latest"]


def test_several_images_in_one_archive(store, other, module, tmp_path):
    images = [built(store, module, "oci", "a"), built(store, module, "cncf", "b:1"), find_image(store, "a")]
    path = saved(store, images, tmp_path / "x.tar")
    assert load(other, path) == [f"docker.io/library/{n}" for n in ("a:latest", "b:1", "a:latest")]
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names))
        (listed,) = json.load(tar.extractfile("manifest.json"))
    assert listed["RepoTags"] == ["a:latest"]


def test_saving_is_reproducible_and_leaves_nothing_behind(store, module, tmp_path):
    image = built(store, module)
    out = tmp_path / "out"
    out.mkdir()
    first, second = saved(store, [image], out / "1"), saved(store, [image], out / "2")
    with open(first, "rb") as a, open(second, "rb") as b:
        assert a.read() == b.read()
    os.unlink(store.path(image.manifest.layers[0].digest))
    with pytest.raises(NotFound):
        save(store, [image], str(out / "3"))
    assert sorted(os.listdir(out)) == ["1", "2"]


def test_docker_archives_hold_container_images_only(store, module, tmp_path):
    with pytest.raises(Precondition, match=r"docker\.io/library/hello:latest"):
        save(store, [built(store, module, "cncf")], str(tmp_path / "x.tar"), "docker-archive")
    with pytest.raises(Invalid):
        save(store, [], str(tmp_path / "x.tar"))


def test_a_wasm_file_is_loaded_as_an_image(store, module):
    assert load(store, module) == ["localhost/hello:latest"]
    assert find_image(store, "localhost/hello").entrypoint == ["/hello.wasm"]


def test_transports():
    assert split_transport("oci-archive:a:b") == ("oci-archive", "a:b")
    assert split_transport("docker.io/x:1") == ("", "docker.io/x:1")


# Docker's older archives


def tar_of(members, links=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return out.getvalue()


def docker_archive(tmp_path, layer=None, **changes):
    """As Docker wrote it up to 24: folders of ids, with a link where two layers are the same."""
    plain = tar_of({"app.wasm": MODULE})
    layer = plain if layer is None else layer
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app.wasm"]},
              "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)] * 2}}  # fmt: skip
    tags = ["app:1", "registry.test/app:2"]
    listed = {"Config": "c.json", "RepoTags": tags, "Layers": ["a/layer.tar", "b/layer.tar"]}
    members = {"a/layer.tar": layer, "c.json": json.dumps(config).encode(),
               "manifest.json": json.dumps([{**listed, **changes}]).encode()}  # fmt: skip
    path = tmp_path / "old.tar"
    path.write_bytes(tar_of(members, {"b/layer.tar": "../a/layer.tar"}))
    return str(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_old_docker_archive_with_links(store, tmp_path, compressed):
    layer = gzip.compress(tar_of({"app.wasm": MODULE})) if compressed else None
    names = load(store, docker_archive(tmp_path, layer))
    assert names == ["docker.io/library/app:1", "registry.test/app:2"]
    image = find_image(store, "app:1")
    assert (image.format, image.entrypoint) == ("docker", ["/app.wasm"])
    assert len(image.rootfs_layers) == 2
    assert read_tree(store, image).entries["app.wasm"].read() == MODULE


def test_an_untagged_image_is_named_after_the_file(store, tmp_path):
    assert load(store, docker_archive(tmp_path, RepoTags=None)) == ["localhost/old:latest"]


def test_L22_a_layer_that_is_not_the_configs_is_refused(store, tmp_path):
    with pytest.raises(DataLoss, match="diff id"):
        load(store, docker_archive(tmp_path, tar_of({"other": b""})))
    assert not store.names()


@pytest.mark.parametrize(
    "changes",
    [
        {"Config": "missing"},
        {"Config": "../../etc/passwd"},
        {"Layers": ["a/layer.tar"]},
        {"Layers": ["/etc/passwd"] * 2},
        {"Layers": 5},
        {"RepoTags": ["UPPER"]},
    ],
)
def test_broken_manifest_json(store, tmp_path, changes):
    with pytest.raises(SampanError):
        load(store, docker_archive(tmp_path, **changes))
    assert not store.names()


# What is no image


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"x" * 5000,
        b"\x1f\x8bjunk",
        tar_of({"a": b"b"}),
        gzip.compress(b"x", mtime=0)[:-4],
        tar_of({"../x": b""}),
    ],
)
def test_what_is_no_archive_is_refused(store, tmp_path, data):
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(SampanError) as caught:
        load(store, str(path))
    assert caught.value.kind in ("INVALID", "DATA_LOSS")


def test_no_file_and_an_empty_folder(store, tmp_path):
    with pytest.raises(NotFound):
        load(store, str(tmp_path / "nowhere"))
    with pytest.raises(Invalid, match="no image"):
        load(store, str(tmp_path))


def layout(store, module, tmp_path, change):
    """An archive of ours with one member changed."""
    path = saved(store, [built(store, module)], tmp_path / "x.tar")
    with tarfile.open(path) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}
    (tmp_path / "y.tar").write_bytes(tar_of(change(members)))
    return str(tmp_path / "y.tar")


def test_a_changed_blob_is_refused(store, other, module, tmp_path):
    def change(members):
        largest = max((n for n in members if n.startswith("blobs")), key=lambda n: len(members[n]))
        return {**members, largest: members[largest][:-1] + b"!"}

    with pytest.raises(DataLoss):
        load(other, layout(store, module, tmp_path, change))
    assert not other.names()


def test_a_missing_blob_is_refused(store, other, module, tmp_path):
    def change(members):
        return {n: d for n, d in members.items() if b"rootfs" not in d}

    with pytest.raises(NotFound):
        load(other, layout(store, module, tmp_path, change))
    assert not other.names()


def test_other_versions_of_the_layout_are_refused(store, other, module, tmp_path):
    with pytest.raises(Invalid, match="version"):
        load(
            other,
            layout(store, module, tmp_path, lambda m: {**m, "oci-layout": b'{"imageLayoutVersion":"2.0"}'}),
        )


def test_an_index_with_platforms_that_are_left_out(store, other, module, tmp_path):
    def change(members):
        index = json.loads(members["index.json"])
        here = {k: v for k, v in index["manifests"][0].items() if k != "annotations"}
        absent = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": 9}
        inner = json.dumps({"schemaVersion": 2, "manifests": [absent, here]}).encode()
        digest = digest_of(inner)
        named = {"org.opencontainers.image.ref.name": "v9"}
        index["manifests"] = [
            {"mediaType": OCI_INDEX, "digest": digest, "size": len(inner), "annotations": named}
        ]
        return {**members, f"blobs/sha256/{digest.hex}": inner, "index.json": json.dumps(index).encode()}

    assert load(other, layout(store, module, tmp_path, change)) == ["localhost/y:v9"]


# Other tools


@needs("skopeo")
@pytest.mark.parametrize("name", ["oci", "docker", "wasm-to-oci", "cncf", "runwasi"])
def test_skopeo_reads_our_oci_archive(store, module, tmp_path, name):
    image = built(store, module, name)
    path = saved(store, [image], tmp_path / "x.tar")
    raw = call("skopeo", "inspect", "--raw", f"oci-archive:{path}")
    assert digest_of(raw.encode()) == image.descriptor.digest


@needs("skopeo")
def test_skopeo_copies_our_docker_archive_and_we_read_its(store, other, module, tmp_path):
    image = built(store, module, "docker")
    path = saved(store, [image], tmp_path / "x.tar", "docker-archive")
    for number, target in enumerate(
        ["docker-archive:{}:copied:1", "oci-archive:{}:copied:1", "oci:{}:copied:1"]
    ):
        copy = str(tmp_path / f"copy{number}")
        call("skopeo", "--insecure-policy", "copy", f"docker-archive:{path}", target.format(copy))
        assert load(other, copy) == ["docker.io/library/copied:1"]
        again = find_image(other, "copied:1")
        assert number or again.id == image.id  # to OCI, skopeo writes another configuration
        assert again.entrypoint == image.entrypoint
        assert read_tree(other, again).entries["hello.wasm"].read() == MODULE


@needs("podman")
@pytest.mark.parametrize("name", ["oci", "docker"])
def test_podman_loads_ours_and_we_load_its(store, other, module, tmp_path, podman, name):
    image = built(store, module, name)
    podman("podman", "load", "-i", saved(store, [image], tmp_path / "x.tar"))
    (seen,) = json.loads(podman("podman", "image", "inspect", "docker.io/library/hello:latest"))
    assert "sha256:" + seen["Id"] == image.id
    assert seen["Config"]["Entrypoint"] == ["/hello.wasm"]
    for form in ("docker-archive", "oci-archive"):
        out = str(tmp_path / form)
        podman("podman", "save", "--format", form, "-o", out, "docker.io/library/hello:latest")
        assert load(other, out) == ["docker.io/library/hello:latest"]
        assert read_tree(other, find_image(other, "hello")).entries["hello.wasm"].read() == MODULE


@needs("buildah")
def test_we_read_what_buildah_commits(store, module, tmp_path, podman):
    container = podman("buildah", "from", "scratch").strip()
    podman("buildah", "copy", container, module, "/")
    podman("buildah", "config", "--cmd", '["/hello.wasm"]', "--env", "A=1", container)
    podman("buildah", "config", "--annotation", "module.wasm.image/variant=compat", container)
    target = str(tmp_path / "out.tar")
    podman("buildah", "commit", container, f"oci-archive:{target}")
    podman("buildah", "rm", container)
    assert load(store, target) == ["localhost/out:latest"]
    image = find_image(store, "localhost/out")
    assert (image.format, image.entrypoint) == ("oci", ["/hello.wasm"])
    assert "A=1" in image.container_config.env
    assert image.annotations["module.wasm.image/variant"] == "compat"
    assert read_tree(store, image).entries["hello.wasm"].read() == MODULE


@needs("buildah")
def test_buildah_builds_the_same_files_as_we_do(store, tmp_path, podman):
    from sampan.image.build.builder import build

    context = tmp_path / "context"
    (context / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "skip.log", "sub/c.txt", "sub/d.log"):
        (context / name).write_text(name)
    (context / "sub" / "link").symlink_to("../a.txt")
    (context / ".dockerignore").write_text("**/*.log\n!sub/d.log\nContainerfile\n")
    (context / "Containerfile").write_text(
        "ARG BASE=scratch\nFROM scratch AS one\nCOPY a.txt b.txt /one/\n"
        "FROM ${BASE}\nENV D=/data X='q r'\nWORKDIR $D\nCOPY sub .\nCOPY *.txt texts/\n"
        "COPY --from=one /one/a.txt ./renamed\nCOPY --chmod=600 b.txt /b\n"
        'LABEL who="${X}" empty=${NOPE:-none}\nEXPOSE 80\nENTRYPOINT ["/x"]\nCMD ["y"]\n'
    )
    podman("buildah", "bud", "-q", "-t", "localhost/theirs:1", str(context))
    target = str(tmp_path / "theirs.tar")
    podman("buildah", "push", "-q", "localhost/theirs:1", f"oci-archive:{target}")
    theirs = find_image(store, load(store, target)[0])
    ours = build(store, str(context), Options(), resolve=lambda name, platform: find_image(store, name))
    assert listing(store, ours) == listing(store, theirs)
    for field in ("entrypoint", "cmd", "working_dir", "exposed_ports"):
        assert getattr(ours.container_config, field) == getattr(theirs.container_config, field), field
    assert ours.labels == {k: v for k, v in theirs.labels.items() if not k.startswith("io.buildah")}
    assert [e for e in theirs.container_config.env if not e.startswith("PATH=")] == ours.container_config.env


def listing(store, image):
    entries = read_tree(store, image).entries
    return {p: (e.kind, e.mode if e.kind == "file" else 0, e.target, e.read() if e.kind == "file" else b"")
            for p, e in entries.items()}  # fmt: skip


@pytest.fixture
def containerd(tmp_path):
    """A containerd of the test's own; gives a `ctr` that speaks to it."""
    short = tempfile.mkdtemp(prefix="sc")
    config = f"{short}/config.toml"
    with open(config, "w") as file:
        file.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    words = [
        "containerd",
        "-c",
        config,
        "--root",
        f"{short}/r",
        "--state",
        f"{short}/s",
        "-a",
        f"{short}/sock",
    ]
    with open(f"{short}/log", "w") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        for _ in range(100):
            ready = subprocess.run(["ctr", "-a", f"{short}/sock", "version"], capture_output=True)
            if ready.returncode == 0:
                break
            time.sleep(0.1)
        yield lambda *words: call("ctr", "-a", f"{short}/sock", *words)
    finally:
        daemon.terminate()
        daemon.wait(20)
        shutil.rmtree(short)


@needs("containerd", "ctr")
def test_ctr_imports_and_unpacks_ours_and_we_load_its(store, other, module, tmp_path, containerd):
    images = [built(store, module, name, f"{name}-image") for name in ("oci", "docker")]
    containerd("image", "import", "--snapshotter", "native", saved(store, images, tmp_path / "x.tar"))
    listed = containerd("image", "ls", "-q").split()
    assert sorted(listed) == ["docker.io/library/docker-image:latest", "docker.io/library/oci-image:latest"]
    out = str(tmp_path / "out.tar")
    containerd("image", "export", out, "docker.io/library/oci-image:latest")
    assert load(other, out) == ["docker.io/library/oci-image:latest"]
    assert find_image(other, "oci-image").id == images[0].id
