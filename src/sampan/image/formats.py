"""The image formats of the field: recognise each, and write each from the same few values.

`oci` and `docker` carry a root filesystem in tar layers. `wasm-to-oci`, `cncf` (TAG-Runtime's Wasm OCI artifact)
and `runwasi` carry modules as layers of their own; `spin` and other artifacts with Wasm layers are read, not
written. A Wasm artifact has no place for a container's configuration: it is kept in the annotation `KEPT_CONFIG`.
"""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.errors import Invalid, Precondition, Unimplemented
from sampan.core.spec.image import (
    ANNOTATION_TITLE,
    CNCF_CONFIG,
    CNCF_LAYER,
    DOCKER_CONFIG,
    DOCKER_LAYER_FOREIGN,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    RUNWASI_LAYER,
    SPIN_DATA_LAYER,
    WASM_LAYERS,
    WASM_TO_OCI_CONFIG,
    WASM_TO_OCI_LAYER,
    Descriptor,
    ImageConfig,
    Manifest,
    RootFS,
)
from sampan.image.component import interfaces
from sampan.image.configs import config_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.image.layers import RootfsFile, RootfsLayer
    from sampan.image.store import ContentStore

CONTAINER_FORMATS = ("oci", "docker")
WRITABLE = ("oci", "docker", "wasm-to-oci", "cncf", "runwasi")
KEPT_CONFIG = "module.wasm.image/config"
SPIN_CONFIG = "application/vnd.fermyon.spin.application.v1+config"

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
OCI_LAYER_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
_TO_DOCKER = {
    OCI_LAYER: DOCKER_LAYER,
    OCI_LAYER_GZIP: DOCKER_LAYER_GZIP,
    OCI_LAYER_ZSTD: DOCKER_LAYER_ZSTD,
    OCI_LAYER_FOREIGN: DOCKER_LAYER_FOREIGN,
}
_TO_OCI = {docker: oci for oci, docker in _TO_DOCKER.items()}
TAR_LAYERS = (*_TO_DOCKER, *_TO_OCI)


def recognise(manifest: Manifest) -> str:
    """The format's name: oci, docker, wasm-to-oci, cncf, runwasi, spin, artifact, or unknown.

    `artifact` is any other manifest with Wasm layers, as general tools push it.
    """
    config = manifest.config.media_type
    has_wasm = any(layer.media_type in WASM_LAYERS for layer in manifest.layers)
    if config == CNCF_CONFIG:
        return "cncf"
    if config == SPIN_CONFIG or any(layer.media_type == SPIN_DATA_LAYER for layer in manifest.layers):
        return "spin"
    if config in (OCI_CONFIG, DOCKER_CONFIG):
        if has_wasm:
            return "runwasi"
        if any(layer.media_type not in TAR_LAYERS for layer in manifest.layers):
            return "unknown"
        return "docker" if manifest.media_type == DOCKER_MANIFEST else "oci"
    if not has_wasm:
        return "unknown"
    return "wasm-to-oci" if config == WASM_TO_OCI_CONFIG else "artifact"


def check_format(manifest: Manifest, name: str, what: str) -> None:
    """Refuse a manifest that may be stored and copied but not run or converted.

    Raises:
        Invalid: a CNCF artifact that does not have exactly one layer of its type.
        Unimplemented: no known format; the message lists those that are.
    """
    if name == "cncf" and [layer.media_type for layer in manifest.layers] != [CNCF_LAYER]:
        types = ", ".join(layer.media_type for layer in manifest.layers) or "none"
        raise Invalid(f"{what} must have exactly one layer, {CNCF_LAYER}, and has: {types}")
    if name == "unknown":
        known = (OCI_CONFIG, DOCKER_CONFIG, WASM_TO_OCI_CONFIG, CNCF_CONFIG, *TAR_LAYERS, *WASM_LAYERS)
        kinds = dict.fromkeys([manifest.config.media_type, *(layer.media_type for layer in manifest.layers)])
        strange = [k for k in kinds if k not in known] or list(kinds)
        raise Unimplemented(
            f"{what} cannot be run: its content is {', '.join(strange)[:300]}",
            fix="container images, and artifacts with layers of " + ", ".join(WASM_LAYERS) + " can",
        )


def kept_config(manifest: Manifest) -> ImageConfig | None:
    """The container configuration that an artifact keeps in its annotation, without `rootfs`."""
    text = manifest.annotations.get(KEPT_CONFIG)
    if text is None:
        return None
    value = strictjson.loads(text, what=f"the annotation {KEPT_CONFIG}")
    return ImageConfig.from_json(value, f"the annotation {KEPT_CONFIG}")


def without_rootfs(config: ImageConfig) -> str:
    """`config` as the text that `KEPT_CONFIG` holds."""
    return strictjson.dumps(config.replace(rootfs=None), sort=True).decode()


def write_container(
    store: ContentStore,
    layers: list[RootfsLayer],
    config: ImageConfig,
    annotations: dict[str, str] | None = None,
    *,
    docker: bool = False,
    raw: bytes = b"",
) -> Descriptor:
    """Store a container image; returns the descriptor of its manifest.

    Args:
        config: `rootfs` is filled in from `layers`.
        docker: write Docker's schema 2 instead of OCI's manifest.
        raw: the configuration as it is stored already, with these layers: its digest is the image's id.
    """
    if not raw:
        config = config.replace(rootfs=RootFS("layers", [layer.diff_id for layer in layers]))
        raw = strictjson.dumps(config_json(config))
    translate = _TO_DOCKER if docker else _TO_OCI
    stored = store.put(raw, DOCKER_CONFIG if docker else OCI_CONFIG)
    descriptors = [
        Descriptor(translate.get(d.media_type, d.media_type), d.digest, d.size, d.annotations)
        for d in (layer.descriptor for layer in layers)
    ]
    return _write(store, stored, descriptors, annotations, DOCKER_MANIFEST if docker else OCI_MANIFEST)


def write_wasm(
    store: ContentStore,
    name: str,
    files: list[RootfsFile],
    config: ImageConfig,
    annotations: dict[str, str] | None = None,
) -> Descriptor:
    """Store Wasm files as an artifact of the format `name`: wasm-to-oci, cncf or runwasi.

    Args:
        files: the modules; more than one only for runwasi.
        config: `created` and `author` for cncf, everything for runwasi; wasm-to-oci has no place for it.

    Raises:
        Precondition: several files for a format that takes one.
        Invalid: a component that cannot be read.
    """
    if name != "runwasi" and len(files) != 1:
        raise Precondition(
            f"the format {name} holds one module, not {', '.join(f.path for f in files) or 'none'}",
            fix="choose oci, docker or runwasi",
        )
    types = {"wasm-to-oci": WASM_TO_OCI_LAYER, "cncf": CNCF_LAYER, "runwasi": RUNWASI_LAYER}
    if name not in types:
        raise Unimplemented(f"the format {name!r} cannot be written", fix=f"use one of {', '.join(WRITABLE)}")
    layers = [
        Descriptor(types[name], file.descriptor.digest, file.descriptor.size, {ANNOTATION_TITLE: file.path})
        for file in files
    ]
    if name == "wasm-to-oci":
        stored = store.put(b"{}", WASM_TO_OCI_CONFIG)
    elif name == "cncf":
        stored = store.put(_cncf_config(store, layers[0], config), CNCF_CONFIG)
    else:
        wasm = config.replace(os="wasip1", architecture="wasm", variant="", rootfs=RootFS("layers", []))
        stored = store.put(strictjson.dumps(config_json(wasm)), OCI_CONFIG)
    return _write(store, stored, layers, annotations, OCI_MANIFEST)


def _cncf_config(store: ContentStore, layer: Descriptor, config: ImageConfig) -> bytes:
    """The v0 configuration (TAG-Runtime, "Wasm OCI Artifact layout"); `component` where the module is one."""
    with store.open(layer.digest) as blob:
        found = interfaces(blob.read())
    out: dict[str, object] = {"created": config.created or "1970-01-01T00:00:00Z"}
    if config.author:
        out["author"] = config.author
    out |= {
        "architecture": "wasm",
        "os": "wasip1" if found is None else "wasip2",
        "layerDigests": [layer.digest],
    }
    if found is not None:
        out["component"] = {"exports": found.exports, "imports": found.imports, "target": None}
    return strictjson.dumps(out)


def _write(
    store: ContentStore,
    config: Descriptor,
    layers: list[Descriptor],
    annotations: dict[str, str] | None,
    media_type: str,
) -> Descriptor:
    manifest = Manifest(2, config, layers, media_type, dict(sorted((annotations or {}).items())))
    return store.put(strictjson.dumps(manifest), media_type)
