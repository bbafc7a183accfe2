"""Images of all formats: recognised, found, their files and commands; and hostile documents refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core import strictjson
from sampan.core.errors import Exhausted, Invalid, NotFound, SampanError, Unimplemented
from sampan.core.spec.image import (
    ANNOTATION_TITLE,
    CNCF_CONFIG,
    CNCF_LAYER,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    RUNWASI_LAYER,
    SPIN_DATA_LAYER,
    WASM_TO_OCI_CONFIG,
    WASM_TO_OCI_LAYER,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from sampan.image.images import chain_ids, find_image, list_images, load_image, safe_title
from sampan.image.manifests import resolve_manifest
from sampan.image.platforms import choose_platform, host_platform, parse_platform

MODULE = b"\0asm\x01\0\0\0"
DIFF = "sha256:" + "d" * 64
HOST = host_platform()
OTHER = "s390x"


def put_json(store, value, media_type):
    return store.put(strictjson.dumps(value), media_type)


def manifest(store, config, layers, media_type=OCI_MANIFEST, annotations=None, name="i.test/x:1"):
    """An image in the store, by the parts of its manifest; its `Image`."""
    descriptor = put_json(store, Manifest(2, config, layers, media_type, annotations or {}), media_type)
    store.tag(name, descriptor)
    return find_image(store, name)


def container(store, config, layers=1, kind=OCI_CONFIG, layer_type=OCI_LAYER_GZIP, media_type=OCI_MANIFEST):
    """A container image with the given configuration."""
    parts = [store.put(b"layer %d" % n, layer_type) for n in range(layers)]
    return manifest(store, put_json(store, config, kind), parts, media_type)


def config_with(diff_ids=1, **container):
    return {
        "architecture": "amd64", "os": "linux", "config": container,
        "rootfs": {"type": "layers", "diff_ids": [DIFF] * diff_ids},
    }  # fmt: skip


def wasm_layer(store, media_type, title="", data=MODULE):
    return store.put(data, media_type, {ANNOTATION_TITLE: title} if title else None)


def test_a_container_image(store):
    image = container(store, config_with(Entrypoint=["/x.wasm"], Cmd=["a"], Env=["A=1"], Labels={"l": "v"}))
    assert image.format == "oci"
    assert image.entrypoint == ["/x.wasm", "a"]
    assert image.id == image.manifest.config.digest
    assert [layer.diff_id for layer in image.rootfs_layers] == [DIFF]
    assert image.chain_id == DIFF
    assert image.files == []
    assert image.labels == {"l": "v"}
    assert str(image.platform) == "linux/amd64"
    assert image.set_ids
    assert image.media_type == OCI_CONFIG
    parts = [image.descriptor, image.manifest.config, *image.manifest.layers]
    assert image.size == sum(p.size for p in parts)


def test_a_docker_image(store):
    image = container(store, config_with(), 1, DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST)
    assert image.format == "docker"


def test_set_user_id_files_mean_something_to_linux_alone(store):
    assert not container(store, config_with() | {"architecture": "wasm", "os": "wasip1"}).set_ids
    assert not container(store, config_with() | {"architecture": "wasm"}).set_ids


def test_chain_id_is_the_specifications(store):
    from sampan.core.digest import digest_of

    image = container(store, config_with(2), 2)
    assert image.chain_id == digest_of(f"{DIFF} {DIFF}".encode())


def test_S5_a_wasm_to_oci_artifact(store):
    layer = wasm_layer(store, WASM_TO_OCI_LAYER, "hello.wasm")
    image = manifest(store, store.put(b"{}", WASM_TO_OCI_CONFIG), [layer])
    assert image.format == "wasm-to-oci"
    assert image.id == image.descriptor.digest
    assert [(f.path, f.descriptor.digest) for f in image.files] == [("hello.wasm", layer.digest)]
    assert image.entrypoint == ["/hello.wasm"]
    assert image.rootfs_layers == []
    assert (image.config.os, image.config.architecture) == ("wasi", "wasm")
    assert image.media_type == WASM_TO_OCI_LAYER


def test_a_layer_without_a_title_is_module_wasm(store):
    image = manifest(store, store.put(b"{}", WASM_TO_OCI_CONFIG), [wasm_layer(store, WASM_TO_OCI_LAYER)])
    assert image.entrypoint == ["/module.wasm"]


def test_chain_ids_of_artifacts_differ_by_path(store):
    first = manifest(store, store.put(b"{}", WASM_TO_OCI_CONFIG), [wasm_layer(store, WASM_TO_OCI_LAYER, "a")])
    second = manifest(
        store, store.put(b"{}", WASM_TO_OCI_CONFIG), [wasm_layer(store, WASM_TO_OCI_LAYER, "b")]
    )
    assert first.chain_id != second.chain_id


def test_a_cncf_artifact_has_exactly_one_layer(store):
    config = put_json(
        store, {"architecture": "wasm", "os": "wasip2", "created": "2026-01-01T00:00:00Z"}, CNCF_CONFIG
    )
    good = manifest(store, config, [wasm_layer(store, CNCF_LAYER, "a.wasm")])
    assert good.format == "cncf"
    assert (good.config.os, good.config.created) == ("wasip2", "2026-01-01T00:00:00Z")
    for layers in ([], [wasm_layer(store, CNCF_LAYER)] * 2, [wasm_layer(store, WASM_TO_OCI_LAYER)]):
        bad = manifest(store, config, layers)
        with pytest.raises(Invalid, match="exactly one layer"):
            _ = bad.files


def test_a_runwasi_image_takes_its_name_from_the_entry_point(store):
    config = put_json(store, {"os": "wasip1", "architecture": "wasm", "config": {"Entrypoint": ["app.wasm#run"]},
                              "rootfs": {"type": "layers", "diff_ids": []}}, OCI_CONFIG)  # fmt: skip
    tar = store.put(b"tar", OCI_LAYER)
    image = manifest(store, config, [wasm_layer(store, RUNWASI_LAYER, "other.wasm"), tar])
    assert image.format == "runwasi"
    assert [f.path for f in image.files] == ["app.wasm"]
    assert image.entrypoint == ["app.wasm#run"]
    assert [(layer.descriptor.digest, layer.diff_id) for layer in image.rootfs_layers] == [(tar.digest, "")]


@pytest.mark.parametrize("word", ["/data/app.wasm", "data/app.wasm", "app.wasm", "/data/app.wasm#run"])
def test_a_command_that_names_the_module_does_not_get_it_twice(store, word):
    config = put_json(store, {"os": "wasip1", "architecture": "wasm",
                              "config": {"Cmd": [word, "a"], "WorkingDir": "/data"}}, OCI_CONFIG)  # fmt: skip
    image = manifest(store, config, [wasm_layer(store, RUNWASI_LAYER, "data/app.wasm")])
    assert image.entrypoint == [word, "a"]


def test_words_that_name_no_module_are_its_arguments(store):
    config = put_json(store, {"os": "wasip1", "architecture": "wasm", "config": {"Cmd": ["a"]}}, OCI_CONFIG)
    image = manifest(store, config, [wasm_layer(store, RUNWASI_LAYER, "data/app.wasm")])
    assert image.entrypoint == ["/data/app.wasm", "a"]


def test_several_modules_get_names_of_their_own(store):
    config = put_json(store, {"os": "wasip1", "architecture": "wasm"}, OCI_CONFIG)
    layers = [wasm_layer(store, RUNWASI_LAYER, data=MODULE + bytes([n])) for n in range(3)]
    image = manifest(store, config, layers)
    assert [f.path for f in image.files] == ["module.wasm", "module-2.wasm", "module-3.wasm"]


def test_spin_and_plain_artifacts_are_read(store):
    config = store.put(b"{}", "application/vnd.fermyon.spin.application.v1+config")
    layers = [
        wasm_layer(store, CNCF_LAYER, "a.wasm"),
        store.put(b"x", SPIN_DATA_LAYER, {ANNOTATION_TITLE: "d/x"}),
    ]
    assert [f.path for f in manifest(store, config, layers).files] == ["a.wasm", "d/x"]
    pushed = manifest(store, store.put(b"{}", "application/vnd.unknown.config.v1+json"), layers[:1])
    assert (pushed.format, pushed.entrypoint) == ("artifact", ["/a.wasm"])


def test_R8_unknown_content_is_kept_but_not_run(store):
    image = manifest(store, store.put(b"{}", "application/vnd.cncf.helm.config.v1+json"),
                     [store.put(b"x", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")])  # fmt: skip
    assert image.format == "unknown"
    assert [i.name for i in list_images(store)] == ["i.test/x:1"]
    for read in (lambda: image.files, lambda: image.rootfs_layers, lambda: image.entrypoint):
        with pytest.raises(Unimplemented, match=r"helm") as caught:
            read()
        assert CNCF_LAYER in caught.value.fix


def test_R8_an_unknown_tar_layer_is_not_run(store):
    image = container(store, config_with(), layer_type="application/vnd.other.layer+lzip")
    with pytest.raises(Unimplemented, match="lzip"):
        _ = image.rootfs_layers


@given(st.text(max_size=300))
def test_a_title_never_leads_anywhere(title):
    path = safe_title(title)
    assert not path.startswith("/")
    assert all(part not in ("", ".", "..") for part in path.split("/")) or path == ""
    assert "\0" not in path and "\n" not in path


# Finding


@pytest.fixture
def two(store):
    first = container(store, config_with(Env=["A=1"]))
    store.tag("docker.io/library/first:latest", first.descriptor)
    store.untag("i.test/x:1")
    second = container(store, config_with(Env=["A=2"]))
    return find_image(store, "first"), second


@pytest.mark.parametrize("text", ["first", "first:latest", "library/first", "docker.io/library/first:latest"])
def test_find_by_reference(store, two, text):
    assert find_image(store, text).id == two[0].id


def test_find_by_id_and_digest(store, two):
    first, second = two
    digits = first.id.partition(":")[2]
    for text in (digits, digits[:12], first.id, f"first@{first.descriptor.digest}"):
        assert find_image(store, text).id == first.id
    assert find_image(store, second.descriptor.digest.partition(":")[2][:16]).id == second.id


def test_an_ambiguous_id_is_refused(store):
    seen: dict[str, str] = {}
    for n in range(60):
        descriptor = container(store, config_with(Env=[f"N={n}"])).descriptor
        store.tag(f"i.test/n:{n}", descriptor)
        prefix = find_image(store, f"i.test/n:{n}").id[7:9]
        if prefix in seen:
            break
        seen[prefix] = str(n)
    else:
        pytest.fail("no two of 60 ids begin with the same two digits")
    with pytest.raises(Invalid, match="several images"):
        find_image(store, prefix)


@pytest.mark.parametrize("text", ["nothing", "ab", "f" * 63, "first:other", "sha256:" + "0" * 64])
def test_what_is_not_there_is_not_found(store, two, text):
    with pytest.raises(SampanError) as caught:
        find_image(store, text)
    assert isinstance(caught.value, NotFound | Invalid)


@pytest.mark.parametrize("text", ["a//b", "A/b", "..", ":", "x" * 300, "host:port/a@sha256:ZZ", "\uff41"])
def test_R22_what_is_no_reference_is_invalid(store, text):
    with pytest.raises(Invalid):
        find_image(store, text)


def test_a_damaged_image_does_not_hide_the_others(store, two):
    import os

    broken = put_json(store, Manifest(2, store.put(b"{}", OCI_CONFIG), []), OCI_MANIFEST)
    store.tag("broken.test/x:1", broken)
    os.chmod(store.path(broken.digest), 0o644)
    with open(store.path(broken.digest), "ab") as file:
        file.write(b" ")
    assert {i.id for i in list_images(store)} == {i.id for i in two}


# Indexes and platforms


def entry(platform, n=0):
    return Descriptor(OCI_MANIFEST, f"sha256:{n:064x}", 1, platform=platform)


def chosen(platforms, wanted=None):
    index = Index(2, [entry(parse_platform(p) if p else None, n) for n, p in enumerate(platforms)])
    descriptor = choose_platform(index, parse_platform(wanted) if wanted else None)
    return platforms[int(descriptor.digest[-4:], 16)]


@pytest.mark.parametrize(
    ("platforms", "wanted", "expected"),
    [
        (["linux/amd64", "linux/arm64", "wasi/wasm"], "linux/arm64", "linux/arm64"),
        (["linux/amd64", "linux/arm64", "wasi/wasm"], None, "wasi/wasm"),
        (["linux/amd64", "wasip1/wasm"], "linux/s390x", "wasip1/wasm"),
        (["linux/amd64", "wasip2/wasm"], "wasi/wasm", "wasip2/wasm"),
        ([f"linux/{OTHER}", str(HOST)], None, str(HOST)),
        ([f"linux/{OTHER}"], None, f"linux/{OTHER}"),
        ([None], None, None),
        (["linux/arm64"], "linux/aarch64/v8", "linux/arm64"),
        (["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", "linux/arm/v7"),
        (["wasi/wasm32"], "wasi/wasm", "wasi/wasm32"),
    ],
)
def test_choice_of_platform(platforms, wanted, expected):
    assert chosen(platforms, wanted) == expected


def test_R24_only_wrong_platforms_names_those_on_offer():
    with pytest.raises(NotFound, match=r"linux/ppc64le, linux/s390x"):
        chosen(["linux/s390x", "linux/ppc64le"])
    with pytest.raises(NotFound, match=r"nothing for linux/riscv64; it offers linux/s390x"):
        chosen(["linux/s390x"], "linux/riscv64")


def test_attestations_are_not_images():
    attestation = entry(Platform("unknown", "unknown"), 1)
    attestation.annotations["vnd.docker.reference.type"] = "attestation-manifest"
    assert (
        choose_platform(Index(2, [attestation, entry(Platform(OTHER, "linux"), 2)]), None).digest[-1] == "2"
    )


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "/amd64", "linux/am d64", "linux/ä"])
def test_what_is_no_platform_is_invalid(text):
    with pytest.raises(Invalid):
        parse_platform(text)


def test_an_index_is_followed(store):
    inner = container(store, config_with())
    index = put_json(store, Index(2, [inner.descriptor], OCI_INDEX), OCI_INDEX)
    outer = put_json(store, Index(2, [index], DOCKER_INDEX), DOCKER_INDEX)
    assert load_image(store, outer).id == inner.id


def test_R6_indexes_nested_too_deeply_are_refused(store):
    descriptor = container(store, config_with()).descriptor
    for depth in range(6):
        descriptor = put_json(store, Index(2, [descriptor], OCI_INDEX), OCI_INDEX)
        if depth == 3:
            assert load_image(store, descriptor).format == "oci"
    with pytest.raises(Invalid, match="nested deeper"):
        load_image(store, descriptor)


def test_R6_an_index_that_leads_to_itself_is_refused():
    me = entry(None)
    me = me.replace(media_type=OCI_INDEX)
    with pytest.raises(Invalid, match="back to itself"):
        resolve_manifest(lambda d: strictjson.dumps(Index(2, [me], OCI_INDEX)), me)


def test_R6_too_many_children_are_refused(store):
    index = put_json(store, Index(2, [entry(None)] * 1025, OCI_INDEX), OCI_INDEX)
    with pytest.raises(Exhausted, match="1025"):
        load_image(store, index)


def test_R4_a_manifest_of_more_than_4_MiB_is_refused_unread(store):
    with pytest.raises(Exhausted, match="4194304"):
        load_image(store, Descriptor(OCI_MANIFEST, DIFF, (4 << 20) + 1))


def test_R5_more_than_512_layers_are_refused(store):
    config = put_json(store, {}, OCI_CONFIG)
    many = put_json(store, Manifest(2, config, [config] * 513), OCI_MANIFEST)
    with pytest.raises(Exhausted, match="513"):
        load_image(store, many)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}', Invalid),
        (b'{"schemaVersion":2}', Invalid),
        (b'{"schemaVersion":1,"fsLayers":[]}', Unimplemented),
        (
            b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
            Invalid,
        ),
        (b'{"schemaVersion":2,"schemaVersion":2,"layers":[]}', Invalid),
        (b"[" * 10_000, Invalid),
        (b"\xff\xfe{\0}\0", Invalid),
        (b"\xef\xbb\xbf{}", Invalid),
        (b'{"x":"\\ud800"}', Invalid),
        (b'{"schemaVersion":' + b"9" * 5000 + b"}", Invalid),
    ],
)
def test_R7_R9_R13_R14_documents_that_are_not_one_thing(store, raw, kind):
    descriptor = store.put(raw, OCI_MANIFEST)
    with pytest.raises(kind):
        load_image(store, descriptor)


@pytest.mark.parametrize("size", ["NaN", "1e999", "1.5", "true", '"5"', "-1", str(1 << 63)])
def test_R12_sizes_that_are_no_sizes(store, size):
    raw = f'{{"schemaVersion":2,"config":{{"mediaType":"{OCI_CONFIG}","digest":"{DIFF}","size":{size}}},"layers":[]}}'
    with pytest.raises(Invalid):
        load_image(store, store.put(raw.encode(), OCI_MANIFEST))


@pytest.mark.parametrize(
    "digest", ["md5:" + "0" * 32, "sha256:short", "sha256:" + "A" * 64, "sha256:../../x"]
)
def test_R23_digests_that_are_none(store, digest):
    raw = f'{{"schemaVersion":2,"config":{{"mediaType":"{OCI_CONFIG}","digest":"{digest}","size":1}},"layers":[]}}'
    with pytest.raises(Invalid):
        load_image(store, store.put(raw.encode(), OCI_MANIFEST))


# What a configuration may say


def test_R25_reserved_labels_are_left_out_and_named(store):
    labels = {
        "containerd.io/x": "1",
        "io.cri-containerd.y": "2",
        "sampan.z": "3",
        "io.kubernetes.cri.q": "4",
        "my": "l",
    }
    image = container(store, config_with(Labels=labels))
    assert image.labels == {"my": "l"}
    assert image.reserved_labels == [
        "containerd.io/x",
        "io.cri-containerd.y",
        "io.kubernetes.cri.q",
        "sampan.z",
    ]
    marked = manifest(
        store, image.manifest.config, image.manifest.layers, annotations={"sampan.a": "1", "b": "2"}
    )
    assert marked.annotations == {"b": "2"}


@pytest.mark.parametrize("count", [0, 2])
def test_R26_as_many_diff_ids_as_layers(store, count):
    image = container(store, config_with(count))
    with pytest.raises(Invalid, match=f"1 layers, but its config names {count}"):
        _ = image.rootfs_layers


def test_R26_a_config_without_rootfs(store):
    with pytest.raises(Invalid, match="names 0"):
        _ = container(store, {"architecture": "amd64", "os": "linux"}).rootfs_layers
    assert container(store, {"architecture": "amd64", "os": "linux"}, layers=0).rootfs_layers == []


def test_R26_values_that_have_a_sensible_meaning(store):
    odd = config_with(
        Entrypoint=None, Cmd=None, Env=["NOVALUE", "A=1", "B="], WorkingDir="../..", Volumes={"/../x": {}}
    )
    config = container(store, odd).container_config
    assert (config.entrypoint, config.cmd, config.env) == ([], [], ["A=1", "B="])
    assert (config.working_dir, list(config.volumes)) == ("/", ["/x"])


@pytest.mark.parametrize(
    "container_config",
    [
        {"User": "a:b:c"},
        {"User": "a\0b"},
        {"WorkingDir": "/proc/self/fd/7"},
        {"WorkingDir": "x/../../proc"},
        {"Volumes": {"/sys/fs": {}}},
        {"Volumes": {"/dev": {}}},
        {"Env": ["=x"]},
        {"Env": ["A=\0"]},
        {"Cmd": ["a\0b"]},
        {"Cmd": "text"},
        {"Env": [1]},
        {"Labels": {"a": 1}},
    ],
)
def test_R26_values_that_could_only_do_harm(store, container_config):
    image = container(store, config_with(**container_config))
    with pytest.raises(Invalid):
        _ = image.config


def test_an_image_that_cannot_be_run_has_no_root_filesystem_and_hides_no_other(store):
    config = store.put(b"{}", "application/vnd.cncf.helm.config.v1+json")
    manifest(store, config, [store.put(b"chart", "application/x-chart")], name="i.test/chart:1")
    good = container(store, config_with())
    assert chain_ids(store) == [good.chain_id]
