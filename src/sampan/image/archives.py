"""Images from files: OCI layout folders, OCI and Docker archives (plain or compressed), and `.wasm` files.

Nothing is unpacked to disk under a name from an archive: blobs go into the store by digest, and links lead
nowhere but to other members. Follows image-spec image-layout.md; Docker's `manifest.json` is documented in moby's
"image/spec".
"""

from __future__ import annotations

import os

from sampan.core import strictjson
from sampan.core.digest import parse_digest
from sampan.core.errors import DataLoss, Invalid, NotFound, SampanError, from_os_error
from sampan.core.record import Record, pascal
from sampan.core.reference import parse_reference
from sampan.core.spec.image import (
    ANNOTATION_CONTAINERD_NAME,
    ANNOTATION_REF_NAME,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
)
from sampan.image.build.builder import build_module
from sampan.image.build.context import Context
from sampan.image.build.options import Options
from sampan.image.component import check_wasm
from sampan.image.compression import CHUNK, MAGIC_SIZE, compression_of, decompressed
from sampan.image.entries import Entry, Tree, read_tar
from sampan.image.formats import write_container
from sampan.image.keeping import keep
from sampan.image.layerwriter import spooled, store_tar
from sampan.image.registry.documents import MAX_DEPTH, parse_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from sampan.image.build.context import Source
    from sampan.image.entries import Seekable
    from sampan.image.layers import RootfsLayer
    from sampan.image.leases import Lease
    from sampan.image.store import ContentStore

TRANSPORTS = ("oci", "oci-archive", "docker-archive")
MAX_INDEX = 16 << 20


class DockerImage(Record, case=pascal):
    """One element of Docker's `manifest.json`; paths are members of the archive."""

    config: str
    layers: list[str]
    repo_tags: list[str] = []


def split_transport(text: str) -> tuple[str, str]:
    """`oci-archive:x.tar` is ("oci-archive", "x.tar"); a text without a known transport has none."""
    transport, colon, path = text.partition(":")
    return (transport, path) if colon and transport in TRANSPORTS else ("", text)


def load(store: ContentStore, source: str | BinaryIO) -> list[str]:
    """Bring all images of a file or folder into the store; their names, in the source's order.

    An image without a name is called after the file: `localhost/FILE:latest`.

    Args:
        source: a path, perhaps with `oci:`, `oci-archive:` or `docker-archive:` before it, or an open stream.

    Raises:
        NotFound: no such file, or a part of an image is missing in it.
        Invalid: none of the known forms. DataLoss: content that is not what its digest says.
    """
    if not isinstance(source, str):
        spool, _ = spooled(iter(lambda: source.read(CHUNK), b""))
        return _load_file(store, spool, "", "loaded")
    transport, path = split_transport(source)
    stem = os.path.basename(os.path.abspath(path)).partition(".")[0]
    if os.path.isdir(path):
        with Context(path) as folder:
            return _load_source(store, folder, transport, path, stem)
    try:
        file = open(path, "rb")
    except OSError as error:
        raise from_os_error(error, f"read {path!r}") from error
    with file:
        head = file.read(64)
        file.seek(0)
        if head.startswith(b"\0asm") and not transport:
            check_wasm(head, path)
            return [build_module(store, path, Options(tags=[_name_after(stem)])).name]
        return _load_file(store, file, transport, stem, path)


def _load_file(
    store: ContentStore, file: Seekable, transport: str, stem: str, path: str = "the input"
) -> list[str]:
    head = file.read(MAGIC_SIZE)
    file.seek(0)
    if compression_of(head):
        file, _ = spooled(decompressed(file, path))
    tree = Tree()
    try:
        read_tar(file, tree, whiteouts=False)
    except (Invalid, DataLoss) as error:
        raise type(error)(f"{path} is not an image archive: {error.message}", fix=_HINT) from error
    return _load_source(store, tree, transport, path, stem)


_HINT = "give an archive of docker save, podman save or sampan save, an OCI layout, or a .wasm file"


def _load_source(store: ContentStore, source: Source, transport: str, path: str, stem: str) -> list[str]:
    is_oci = source.lookup("index.json") is not None and source.lookup("oci-layout") is not None
    is_docker = source.lookup("manifest.json") is not None
    with store.lease() as lease:
        if is_oci and transport != "docker-archive":
            return _OciLayout(store, lease, source, stem).load()
        if is_docker and transport in ("", "docker-archive"):
            return _load_docker(store, lease, source, stem)
    raise Invalid(f"{path} has no image in it", fix=_HINT)


def _read(source: Source, path: str, limit: int = MAX_INDEX) -> bytes:
    """A small member, whole."""
    entry = _member(source, path)
    if entry.size > limit:
        raise Invalid(f"{path} in the archive has {entry.size} bytes, more than the {limit} allowed")
    return entry.read()


def _member(source: Source, path: str) -> Entry:
    entry = source.lookup(source.resolve(path))
    if entry is None or entry.kind != "file":
        raise NotFound(f"the archive has no file {path[:200]!r}", fix="save the image again")
    return entry


def _chunks(entry: Entry) -> Iterator[bytes]:
    with entry.content() as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


class _OciLayout:
    """One OCI layout that is read into the store."""

    def __init__(self, store: ContentStore, lease: Lease, source: Source, stem: str) -> None:
        self.store = store
        self.lease = lease
        self.source = source
        self.stem = stem

    def load(self) -> list[str]:
        layout = strictjson.loads(_read(self.source, "oci-layout"), what="oci-layout")
        version = layout.get("imageLayoutVersion") if isinstance(layout, dict) else None
        if not isinstance(version, str) or not version.startswith("1."):
            raise Invalid(f"the OCI layout has the version {version!r}, not 1")
        raw = _read(self.source, "index.json")
        index = Index.from_json(strictjson.loads(raw, what="index.json", limit=MAX_INDEX), "index.json")
        if not index.manifests:
            raise Invalid("the OCI layout has no image in it")
        names: list[str] = []
        for entry in index.manifests:
            bare = Descriptor(entry.media_type, entry.digest, entry.size)
            if not self._take_document(bare, MAX_DEPTH):
                raise NotFound(
                    f"the archive has nothing of the image {entry.digest}", fix="save the image again"
                )
            name = _name_of(entry, self.stem, len(index.manifests))
            self.store.tag(name, bare)
            names.append(name)
        return names

    def _take_document(self, descriptor: Descriptor, depth: int) -> bool:
        """Take a manifest or an index and what it leads to; false where the archive does not have it."""
        path = _blob_path(descriptor)
        if self.source.lookup(path) is None and not self.store.has(descriptor.digest):
            return False
        if depth < 0:
            raise Invalid("the archive has indexes nested too deeply")
        self._take_blob(descriptor)
        document = parse_document(
            self.store.read(descriptor), descriptor.media_type, "a manifest in the archive"
        )
        if isinstance(document, Manifest):
            for part in (document.config, *document.layers):
                self._take_blob(part)
            return True
        taken = [self._take_document(child, depth - 1) for child in document.manifests]
        return any(taken)  # other platforms' content is often left out

    def _take_blob(self, descriptor: Descriptor) -> None:
        self.lease.add([descriptor.digest])
        if not self.store.has(descriptor.digest):
            self.store.fill(descriptor, _chunks(_member(self.source, _blob_path(descriptor))))


def _blob_path(descriptor: Descriptor) -> str:
    digest = parse_digest(descriptor.digest)
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _name_of(entry: Descriptor, stem: str, count: int) -> str:
    """The full name of an index entry: containerd's annotation, else a reference, else after the file."""
    for key in (ANNOTATION_CONTAINERD_NAME, ANNOTATION_REF_NAME):
        text = entry.annotations.get(key, "")
        if text and (key == ANNOTATION_CONTAINERD_NAME or ":" in text or "/" in text):
            try:
                return str(parse_reference(text).tagged())
            except SampanError:
                continue
    tag = entry.annotations.get(ANNOTATION_REF_NAME, "")
    if not tag and count > 1:
        tag = parse_digest(entry.digest).short
    return _name_after(stem, tag or "latest")


def _name_after(stem: str, tag: str = "latest") -> str:
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in stem.lower()).strip("-")
    while "--" in name:
        name = name.replace("--", "-")
    try:
        return str(parse_reference(f"localhost/{name or 'loaded'}:{tag}"))
    except SampanError:
        return f"localhost/{name or 'loaded'}:latest"


def _load_docker(store: ContentStore, lease: Lease, source: Source, stem: str) -> list[str]:
    """Read what `docker save` wrote: `manifest.json` and the members that it names."""
    images = strictjson.loads(_read(source, "manifest.json"), what="manifest.json", limit=MAX_INDEX)
    if not isinstance(images, list) or not images:
        raise Invalid("manifest.json in the archive lists no images")
    names: list[str] = []
    for number, value in enumerate(images):
        image = DockerImage.from_json(value, f"manifest.json[{number}]")
        descriptor = _docker_image(store, lease, source, image)
        tags = [str(parse_reference(tag).tagged()) for tag in image.repo_tags]
        fallback = _name_after(stem, "latest" if len(images) == 1 else parse_digest(descriptor.digest).short)
        for name in tags or [fallback]:
            store.tag(name, descriptor)
            names.append(name)
    return names


def _docker_image(store: ContentStore, lease: Lease, source: Source, image: DockerImage) -> Descriptor:
    what = f"the config {image.config[:100]!r} in the archive"
    raw = _read(source, image.config)
    config = ImageConfig.from_json(strictjson.loads(raw, what=what), what)
    declared = config.rootfs.diff_ids if config.rootfs else []
    if len(declared) != len(image.layers):
        raise Invalid(f"{what} names {len(declared)} layers, manifest.json {len(image.layers)}")
    layers: list[RootfsLayer] = []
    for path, diff_id in zip(image.layers, declared):
        entry = _member(source, path)
        with entry.content() as stream:
            layer = store_tar(store, decompressed(stream, f"{path} in the archive"))
        keep(store, lease, [layer.descriptor.digest])
        if layer.diff_id != diff_id:
            raise DataLoss(
                f"{path} in the archive does not have the diff id {diff_id}", fix="save the image again"
            )
        layers.append(layer)
    done = write_container(store, layers, config, docker=True, raw=raw)
    manifest = parse_document(store.read(done), "", what)
    assert isinstance(manifest, Manifest)
    keep(store, lease, [done.digest, manifest.config.digest])
    return done
