"""From one image format to another, without loss: the same modules, and the same configuration on the way back.

What the target has no place for (command, environment, labels, history) goes into the annotation
`module.wasm.image/config` of its manifest, and comes back from there. What cannot be held at all, such as several
files in a format for one, is an error that names it; nothing is dropped.
"""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.errors import Precondition, SampanError, Unimplemented
from sampan.core.spec.image import (
    ANNOTATION_COMPAT,
    CNCF_LAYER,
    ContainerConfig,
    Descriptor,
    ImageConfig,
)
from sampan.core.units import parse_rfc3339
from sampan.image.component import check_wasm
from sampan.image.formats import (
    CONTAINER_FORMATS,
    KEPT_CONFIG,
    WRITABLE,
    check_format,
    kept_config,
    without_rootfs,
    write_container,
    write_wasm,
)
from sampan.image.keeping import keep
from sampan.image.layers import RootfsFile, RootfsLayer
from sampan.image.layerwriter import read_tree, write_layer
from sampan.image.manifests import resolve_manifest
from sampan.image.platforms import host_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sampan.core.spec.image import Platform
    from sampan.image.entries import Entry, Tree
    from sampan.image.images import Image
    from sampan.image.leases import Lease
    from sampan.image.store import ContentStore

COMPAT = "compat-smart"


def convert(
    store: ContentStore,
    image: Image,
    name: str,
    platform: Platform | None = None,
    tags: Iterable[str] = (),
) -> Descriptor:
    """Store the image in the format `name` (oci, docker, wasm-to-oci, cncf, runwasi); its manifest's descriptor.

    Args:
        tags: the full references that the result gets.
        platform: what a container image says of itself; where it is None and the image has not said it
            before, this host's, so that every tool pulls it without being asked for a platform.

    Raises:
        Precondition: the target cannot hold the image's files; the message names them.
        Unimplemented: not a format that can be written, or an image that cannot be read.
    """
    if name not in WRITABLE:
        raise Unimplemented(
            f"the format {name[:40]!r} cannot be written", fix=f"use one of {', '.join(WRITABLE)}"
        )
    check_format(image.manifest, image.format, image.shown)
    if image.format == "spin":
        raise Unimplemented(f"{image.shown} is a Spin application", fix="run it with Spin")
    with store.lease() as lease:
        if name == image.format and platform is None:
            done = image.descriptor
        elif name in CONTAINER_FORMATS:
            done = _to_container(store, lease, image, name, platform)
        else:
            done = _to_wasm(store, lease, image, name)
        manifest = resolve_manifest(store.read, done).manifest
        keep(store, lease, [done.digest, manifest.config.digest, *(d.digest for d in manifest.layers)])
        for tag in tags:
            store.tag(tag, done)
    return done


def _to_container(
    store: ContentStore, lease: Lease, image: Image, name: str, platform: Platform | None
) -> Descriptor:
    layers = image.rootfs_layers
    if image.files or any(not layer.diff_id for layer in layers):
        layers = [flat_layer(store, image)]
        keep(store, lease, [layer.descriptor.digest for layer in layers])
    config = container_config(image)
    if platform is not None:
        config = config.replace(os=platform.os, architecture=platform.architecture, variant=platform.variant)
    annotations = {k: v for k, v in image.manifest.annotations.items() if k != KEPT_CONFIG}
    if image.files:
        annotations.setdefault(ANNOTATION_COMPAT, COMPAT)
    is_same = (
        platform is None
        and image.format in CONTAINER_FORMATS
        and KEPT_CONFIG not in image.manifest.annotations
    )
    raw = image.read_raw_config() if is_same else b""
    return write_container(store, layers, config, annotations, docker=name == "docker", raw=raw)


def flat_layer(store: ContentStore, image: Image) -> RootfsLayer:
    """One layer of all the files of an image that has modules as layers."""
    tree = read_tree(store, image)
    return write_layer(store, tree.entries.values(), _created(image.config))


def _created(config: ImageConfig) -> int:
    try:
        return max(0, parse_rfc3339(config.created) // 10**9) if config.created else 0
    except SampanError:
        return 0


def container_config(image: Image) -> ImageConfig:
    """The configuration of the container image that this one is, or becomes; `rootfs` may be another's."""
    kept = kept_config(image.manifest)
    if kept is not None:
        return kept
    if image.is_container and image.format != "runwasi":
        return _stored_config(image)
    if image.format == "runwasi":
        config = _stored_config(image)
        container = config.config or ContainerConfig()
    else:
        config, container = image.config, ContainerConfig()
    host = host_platform()
    if not container.entrypoint:
        container = container.replace(entrypoint=image.entrypoint[:1])
    return config.replace(os=host.os, architecture=host.architecture, config=container)


def _stored_config(image: Image) -> ImageConfig:
    """The configuration word for word, before anything in it was made safe."""
    return ImageConfig.from_json(
        strictjson.loads(image.read_raw_config(), what=f"the config of {image.shown}")
    )


def _to_wasm(store: ContentStore, lease: Lease, image: Image, name: str) -> Descriptor:
    files = _modules(store, lease, image) if image.rootfs_layers else image.files
    if not files or (name != "runwasi" and len(files) != 1):
        listed = ", ".join(f"/{f.path}" for f in files[:20]) or "no file"
        raise Precondition(
            f"{image.shown} cannot become {name}, which holds one module: it has {listed}",
            fix="choose oci, docker or runwasi" if files else "",
        )
    _check_modules(store, files)
    annotations = dict(image.manifest.annotations)
    config = image.config
    if image.is_container and KEPT_CONFIG not in annotations:
        config = _stored_config(image)
        annotations[KEPT_CONFIG] = without_rootfs(config)
    elif name == "runwasi":
        config = kept_config(image.manifest) or container_config(image)
    return write_wasm(store, name, files, config, annotations)


def _modules(store: ContentStore, lease: Lease, image: Image) -> list[RootfsFile]:
    """The modules of a root filesystem that has nothing else, each stored as a blob of its own."""
    tree = read_tree(store, image)
    strangers = [e.path for e in tree.entries.values() if not _is_carried(e, tree)]
    if strangers:
        listed = ", ".join(f"/{path}" for path in sorted(strangers)[:20])
        more = f" and {len(strangers) - 20} more" if len(strangers) > 20 else ""
        raise Precondition(
            f"{image.shown} cannot become a Wasm artifact, which holds only modules: it has {listed}{more}",
            fix="choose oci or docker",
        )
    files: list[RootfsFile] = []
    for entry in sorted((e for e in tree.entries.values() if e.kind == "file"), key=lambda e: e.path):
        descriptor = store.put_stream(entry.content(), CNCF_LAYER)  # type: ignore[arg-type]
        keep(store, lease, [descriptor.digest])
        files.append(RootfsFile(entry.path, descriptor))
    return files


def _is_carried(entry: Entry, tree: Tree) -> bool:
    """Whether an artifact can hold it: a module, or a folder that is only the way to one."""
    if entry.kind == "dir":
        return any(e.kind == "file" for e in tree.walk(entry.path))
    if entry.kind != "file":
        return False
    with entry.content() as stream:
        return stream.read(4) == b"\0asm"


def _check_modules(store: ContentStore, files: list[RootfsFile]) -> None:
    for file in files:
        with store.open(file.descriptor.digest) as blob:
            check_wasm(blob.read(64), f"/{file.path}")
