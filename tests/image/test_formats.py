"""What is written for each format, byte for byte where a specification says so; and what a component says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core import strictjson
from sampan.core.errors import Invalid, Precondition, Unimplemented
from sampan.core.spec.image import (
    ANNOTATION_TITLE,
    CNCF_CONFIG,
    CNCF_LAYER,
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    RUNWASI_LAYER,
    WASM_TO_OCI_CONFIG,
    WASM_TO_OCI_LAYER,
    ContainerConfig,
    ImageConfig,
)
from sampan.image.component import check_wasm, interfaces
from sampan.image.formats import write_container, write_wasm
from sampan.image.images import load_image
from sampan.image.layers import RootfsFile, RootfsLayer

MODULE = b"\0asm\x01\0\0\0"
EMPTY_JSON = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
CONFIG = ImageConfig(
    "amd64", "linux", "2026-01-02T03:04:05Z", "me", config=ContainerConfig(entrypoint=["/a.wasm"])
)


def text(value):
    return bytes([len(value)]) + value.encode()


def section(number, body):
    return bytes([number, len(body)]) + body


def component(imports=(), exports=()):
    """A component's bytes with imported and exported instances of these names."""
    data = b"\0asm\x0d\0\x01\0" + section(0, text("name") + b"xyz")
    data += section(10, bytes([len(imports)]) + b"".join(b"\0" + text(n) + b"\x05\0" for n in imports))
    return data + section(
        11, bytes([len(exports)]) + b"".join(b"\0" + text(n) + b"\x05\0\0" for n in exports)
    )


def written(store, name, data=MODULE, path="a.wasm"):
    file = RootfsFile(path, store.put(data, CNCF_LAYER))
    return load_image(store, write_wasm(store, name, [file], CONFIG))


def shape(image):
    return (
        image.manifest.media_type,
        image.manifest.config.media_type,
        [(d.media_type, d.annotations.get(ANNOTATION_TITLE)) for d in image.manifest.layers],
    )


def config_of(store, image):
    return strictjson.loads(store.read(image.manifest.config))


def test_wasm_to_oci(store):
    image = written(store, "wasm-to-oci")
    assert shape(image) == (OCI_MANIFEST, WASM_TO_OCI_CONFIG, [(WASM_TO_OCI_LAYER, "a.wasm")])
    assert (image.manifest.config.digest, image.manifest.config.size) == (EMPTY_JSON, 2)


def test_cncf_of_a_module(store):
    image = written(store, "cncf")
    assert shape(image) == (OCI_MANIFEST, CNCF_CONFIG, [(CNCF_LAYER, "a.wasm")])
    assert config_of(store, image) == {
        "created": "2026-01-02T03:04:05Z",
        "author": "me",
        "architecture": "wasm",
        "os": "wasip1",
        "layerDigests": [image.manifest.layers[0].digest],
    }


def test_cncf_of_a_component(store):
    data = component(["wasi:cli/environment@0.2.0"], ["wasi:cli/run@0.2.0"])
    config = config_of(store, written(store, "cncf", data))
    assert config["os"] == "wasip2"
    assert config["component"]["imports"] == ["wasi:cli/environment@0.2.0"]
    assert config["component"]["exports"] == ["wasi:cli/run@0.2.0"]


def test_runwasi(store):
    image = written(store, "runwasi")
    assert shape(image) == (OCI_MANIFEST, OCI_CONFIG, [(RUNWASI_LAYER, "a.wasm")])
    config = config_of(store, image)
    assert (config["os"], config["architecture"]) == ("wasip1", "wasm")
    assert config["rootfs"] == {"type": "layers", "diff_ids": []}
    assert config["config"]["Entrypoint"] == ["/a.wasm"]


@pytest.mark.parametrize(
    ("docker", "expected"),
    [
        (False, (OCI_MANIFEST, OCI_CONFIG, [(OCI_LAYER_GZIP, None)])),
        (True, (DOCKER_MANIFEST, DOCKER_CONFIG, [(DOCKER_LAYER_GZIP, None)])),
    ],
)
def test_containers(store, docker, expected):
    layer = RootfsLayer(store.put(b"x", OCI_LAYER_GZIP), "sha256:" + "d" * 64)
    image = load_image(store, write_container(store, [layer], CONFIG, {"b": "2", "a": "1"}, docker=docker))
    assert shape(image) == expected
    assert list(image.manifest.annotations) == ["a", "b"]
    config = config_of(store, image)
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer.diff_id]}  # Docker insists on "type"
    assert config["architecture"] == "amd64"


def test_one_module_formats_refuse_several(store):
    files = [RootfsFile(p, store.put(MODULE, CNCF_LAYER)) for p in ("a.wasm", "b.wasm")]
    for name in ("cncf", "wasm-to-oci"):
        with pytest.raises(Precondition, match=r"a\.wasm, b\.wasm"):
            write_wasm(store, name, files, CONFIG)
    assert [f.path for f in load_image(store, write_wasm(store, "runwasi", files, CONFIG)).files] == [
        "a.wasm",
        "b.wasm",
    ]


def test_a_format_that_cannot_be_written(store):
    with pytest.raises(Unimplemented, match="spin"):
        write_wasm(store, "spin", [RootfsFile("a", store.put(MODULE, CNCF_LAYER))], CONFIG)


def test_a_module_is_told_from_a_component():
    assert check_wasm(MODULE, "x") == "module"
    assert check_wasm(component(), "x") == "component"
    assert interfaces(MODULE) is None


def test_all_kinds_of_imports_and_exports():
    described = [
        b"\x00\x11\x00",  # core module
        b"\x01\x05",  # function
        b"\x02\x00\x01",  # value, by index
        b"\x02\x01\x73",  # value, by type
        b"\x03\x00\x80\x01",  # type, equal
        b"\x03\x01",  # type, a resource
        b"\x04\x00",  # component
        b"\x05\x00",  # instance
    ]
    body = bytes([len(described)])
    for n, what in enumerate(described):
        body += bytes([n % 2]) + text(f"i{n}") + what
    exports = b"\x03" + b"\0" + text("a") + b"\x00\x11\x00\x00" + b"\0" + text("b") + b"\x01\x00\x01\x01\x07"
    exports += b"\0" + text("c") + b"\x05\x80\x01\x00"
    found = interfaces(b"\0asm\x0d\0\x01\0" + section(10, body) + section(11, exports))
    assert found is not None
    assert found.imports == [f"i{n}" for n in range(8)]
    assert found.exports == ["a", "b", "c"]


@given(st.integers(0, 200), st.binary(max_size=8))
def test_a_damaged_component_is_read_or_refused(cut, noise):
    data = component(["wasi:io/streams@0.2.0"], ["x"])
    data = data[:8] + (data[8:] + noise)[: cut % 60] + noise
    try:
        assert interfaces(data) is not None
    except Invalid as error:
        assert "component" in error.message
