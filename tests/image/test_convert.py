"""Conversions: there and back without loss, or a reason why not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.core import strictjson
from sampan.core.digest import digest_of
from sampan.core.errors import Precondition, Unimplemented
from sampan.core.spec.image import (
    ANNOTATION_TITLE,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    RUNWASI_LAYER,
    ContainerConfig,
    History,
    ImageConfig,
    Manifest,
    Platform,
)
from sampan.image.convert import convert
from sampan.image.entries import Entry
from sampan.image.formats import KEPT_CONFIG, WRITABLE, write_container
from sampan.image.images import load_image
from sampan.image.layerwriter import read_tree, write_layer
from sampan.image.platforms import host_platform

MODULE = b"\0asm\x01\0\0\0"


def file(path, data=MODULE):
    from io import BytesIO

    return Entry(path, "file", 0o755, size=len(data), open=lambda: BytesIO(data))


def oci_image(store, entries, config=None, docker=False):
    config = config or ImageConfig("amd64", "linux", config=ContainerConfig(entrypoint=["/app.wasm"]))
    layers = [write_layer(store, entries, 0)] if entries else []
    return load_image(store, write_container(store, layers, config, docker=docker))


def converted(store, image, name, **options):
    return load_image(store, convert(store, image, name, **options))


def meaning(store, image):
    """All that a conversion must keep: the stored configuration but for diff ids, and the files' bytes."""
    config = strictjson.loads(store.read(image.manifest.config))
    config.pop("rootfs", None)
    files = {p: digest_of(e.read()) for p, e in read_tree(store, image).entries.items() if e.kind == "file"}
    return config, files


words = st.lists(
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=8), max_size=3
)
configs = st.builds(
    lambda cmd, env, labels, user, signal, history: ImageConfig(
        "arm64",
        "linux",
        "2026-01-02T03:04:05Z",
        "me",
        config=ContainerConfig(
            user=user, env=[f"V{n}={e}" for n, e in enumerate(env)], entrypoint=["/bin/app.wasm"], cmd=cmd,
            labels=labels, stop_signal=signal, working_dir="/work", exposed_ports={"80/tcp": {}},
        ),
        history=[History(created_by=h) for h in history],
    ),
    words, words, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    st.sampled_from(["", "1:2"]), st.sampled_from(["", "SIGINT"]), words,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    configs,
    st.lists(st.sampled_from(WRITABLE), min_size=1, max_size=3),
    st.booleans(),
    st.binary(max_size=20),
)
def test_there_and_back_keeps_configuration_and_files(store, config, names, docker, tail):
    first = oci_image(store, [file("bin/app.wasm", MODULE + tail)], config, docker)
    image = first
    for name in names:
        image = converted(store, image, name)
        assert image.format == name
        assert image.entrypoint == first.entrypoint
        assert image.container_config.env == first.container_config.env
    back = converted(store, image, first.format)
    assert meaning(store, back) == meaning(store, first)


@pytest.mark.parametrize("start", ["wasm-to-oci", "cncf", "runwasi"])
@pytest.mark.parametrize("via", WRITABLE)
def test_an_artifact_comes_back_with_the_same_module(store, start, via):
    from sampan.core.spec.image import CNCF_LAYER
    from sampan.image.formats import write_wasm
    from sampan.image.layers import RootfsFile

    module = store.put(MODULE + b"\0\x01\0", CNCF_LAYER)
    config = ImageConfig(created="2026-01-02T03:04:05Z", config=ContainerConfig(entrypoint=["/x.wasm"]))
    first = load_image(store, write_wasm(store, start, [RootfsFile("x.wasm", module)], config))
    back = converted(store, converted(store, first, via), start)
    assert [(f.path, f.descriptor.digest) for f in back.files] == [("x.wasm", module.digest)]
    assert back.entrypoint == first.entrypoint == ["/x.wasm"]


def test_an_artifact_becomes_an_image_of_this_host(store):
    image = converted(store, oci_image(store, [file("app.wasm")]), "cncf")
    image.manifest.annotations.pop(KEPT_CONFIG)
    bare = load_image(store, store.put(strictjson.dumps(image.manifest), OCI_MANIFEST))
    host = converted(store, bare, "oci")
    assert str(host.platform) == str(host_platform())
    assert host.entrypoint == ["/app.wasm"]
    assert str(converted(store, bare, "docker", platform=Platform("wasm", "wasi")).platform) == "wasi/wasm"


def test_the_same_format_is_the_same_image(store):
    image = oci_image(store, [file("app.wasm")])
    assert convert(store, image, "oci") == image.descriptor


def test_oci_and_docker_share_the_configuration(store):
    image = oci_image(store, [file("app.wasm")])
    docker = converted(store, image, "docker")
    assert docker.manifest.config.digest == image.manifest.config.digest
    assert docker.id == image.id


def test_tags_are_given(store):
    done = convert(store, oci_image(store, [file("app.wasm")]), "cncf", tags=["i.test/a:1", "i.test/b:1"])
    assert {n: d.digest for n, d in store.names().items()} == {
        "i.test/a:1": done.digest,
        "i.test/b:1": done.digest,
    }


@pytest.mark.parametrize("name", ["wasm-to-oci", "cncf", "runwasi"])
@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (file("etc/conf", b"text"), "/etc/conf"),
        (Entry("link", "link", target="app.wasm"), "/link"),
        (Entry("data", "dir"), "/data"),
    ],
)
def test_what_an_artifact_cannot_hold_is_named(store, name, extra, named):
    image = oci_image(store, [file("app.wasm"), extra])
    with pytest.raises(Precondition) as caught:
        convert(store, image, name)
    assert named in caught.value.message and "app.wasm" not in caught.value.message


def test_several_modules_fit_only_runwasi(store):
    image = oci_image(store, [file("app.wasm"), file("b.wasm", MODULE + b"\0\0")])
    with pytest.raises(Precondition, match=r"/app\.wasm, /b\.wasm"):
        convert(store, image, "cncf")
    back = converted(store, converted(store, image, "runwasi"), "oci")
    assert meaning(store, back) == meaning(store, image)


def test_an_image_without_files_is_no_artifact(store):
    with pytest.raises(Precondition, match="no file"):
        convert(store, oci_image(store, []), "cncf")


def test_extra_tar_layers_of_runwasi_are_kept(store, tmp_path):
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("data.txt")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    layers = [
        store.put(MODULE, RUNWASI_LAYER, {ANNOTATION_TITLE: "app.wasm"}),
        store.put(out.getvalue(), OCI_LAYER),
    ]
    config = store.put(
        b'{"os":"wasip1","architecture":"wasm","config":{"Entrypoint":["app.wasm"]}}', OCI_CONFIG
    )
    image = load_image(store, store.put(strictjson.dumps(Manifest(2, config, layers)), OCI_MANIFEST))
    flat = converted(store, image, "oci")
    assert sorted(read_tree(store, flat).entries) == ["app.wasm", "data.txt"]
    assert flat.entrypoint == ["app.wasm"]
    with pytest.raises(Precondition, match=r"/data\.txt"):
        convert(store, image, "cncf")


def test_formats_that_cannot_be_written(store):
    image = oci_image(store, [file("app.wasm")])
    for name in ("spin", "", "artifact"):
        with pytest.raises(Unimplemented, match="cannot be written"):
            convert(store, image, name)
