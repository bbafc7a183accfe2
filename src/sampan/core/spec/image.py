"""OCI image specification 1.1: descriptors, manifests, indexes, image configurations, and their media types.

Also the media types of the Wasm formats that the field has, which no one document lists.
"""

from __future__ import annotations

from sampan.core.record import Record, camel, pascal

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
WASM_TO_OCI_CONFIG = "application/vnd.wasm.config.v1+json"
WASM_TO_OCI_LAYER = "application/vnd.wasm.content.layer.v1+wasm"
CNCF_CONFIG = "application/vnd.wasm.config.v0+json"
CNCF_LAYER = "application/wasm"
RUNWASI_LAYER = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
SPIN_DATA_LAYER = "application/vnd.spin.content.bytes.v1"

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
WASM_LAYERS = (WASM_TO_OCI_LAYER, CNCF_LAYER, RUNWASI_LAYER)

ANNOTATION_REF_NAME = "org.opencontainers.image.ref.name"
ANNOTATION_TITLE = "org.opencontainers.image.title"
ANNOTATION_CREATED = "org.opencontainers.image.created"
ANNOTATION_CONTAINERD_NAME = "io.containerd.image.name"
ANNOTATION_COMPAT = "module.wasm.image/variant"


class Platform(Record, json={"os_version": "os.version", "os_features": "os.features"}):
    """An image's platform (image-index.md); Wasm images say os `wasi`/`wasip1`/`wasip2`, architecture `wasm`."""

    architecture: str = ""
    os: str = ""
    os_version: str = ""
    os_features: list[str] = []
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(p for p in (self.os, self.architecture, self.variant) if p)


class Descriptor(Record):
    """What another document says of some content (descriptor.md); `size` in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}
    urls: list[str] = []
    platform: Platform | None = None
    artifact_type: str = ""
    data: str = ""


class Manifest(Record):
    """An image manifest (manifest.md; Docker's schema 2 has the same shape)."""

    schema_version: int
    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    subject: Descriptor | None = None


class Index(Record):
    """An image index (image-index.md; Docker's manifest list has the same shape)."""

    schema_version: int
    manifests: list[Descriptor]
    media_type: str = ""
    annotations: dict[str, str] = {}


class Healthcheck(Record, case=pascal):
    """Docker's extension; kept, not acted on."""

    test: list[str] = []


class ContainerConfig(Record, case=pascal):
    """`config` of an image configuration (config.md): what a container starts with."""

    user: str = ""
    exposed_ports: dict[str, object] = {}
    env: list[str] = []
    entrypoint: list[str] = []
    cmd: list[str] = []
    volumes: dict[str, object] = {}
    working_dir: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""


class RootFS(Record, json={"diff_ids": "diff_ids"}):
    """The layers' uncompressed digests, in order."""

    type: str = "layers"
    diff_ids: list[str] = []


class History(Record, json={"created_by": "created_by", "empty_layer": "empty_layer"}):
    """How one layer came to be."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(Record, json={"os_version": "os.version"}, case=camel):
    """An image configuration (config.md)."""

    architecture: str = ""
    os: str = ""
    created: str = ""
    author: str = ""
    variant: str = ""
    os_version: str = ""
    config: ContainerConfig | None = None
    rootfs: RootFS | None = None
    history: list[History] = []


def platform_of(config: ImageConfig) -> Platform:
    """The platform that an image's configuration declares."""
    return Platform(config.architecture, config.os, config.os_version, [], config.variant)
