"""Images to files: one archive that Docker, podman, containerd and skopeo read, or an OCI layout folder.

The archive is an OCI layout with Docker's `manifest.json` beside it for container images; the same images give the
same bytes. Follows image-spec image-layout.md.
"""

from __future__ import annotations

import os

from sampan.core import strictjson
from sampan.core.digest import parse_digest
from sampan.core.errors import Invalid, Precondition, from_os_error
from sampan.core.reference import parse_reference
from sampan.core.spec.image import (
    ANNOTATION_CONTAINERD_NAME,
    ANNOTATION_REF_NAME,
    OCI_INDEX,
    Descriptor,
    Index,
)
from sampan.image.compression import CHUNK
from sampan.image.formats import CONTAINER_FORMATS
from sampan.linux.durable import make_dir, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from typing import BinaryIO, Protocol

    from sampan.image.images import Image
    from sampan.image.store import ContentStore

    class Sink(Protocol):
        """Where the files of a layout go."""

        def add(self, name: str, data: bytes) -> None: ...

        def add_blob(self, name: str, digest: str, size: int) -> None: ...


FORMATS = ("oci-archive", "docker-archive", "oci-dir")
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def save(store: ContentStore, images: list[Image], sink: str | BinaryIO, name: str = "oci-archive") -> None:
    """Write images, each with its name, to a file, a stream or a folder.

    Args:
        sink: a path (the file appears when it is whole), or a stream that is open for writing.
        name: oci-archive and docker-archive are the same file, but the second refuses what Docker cannot
            read; oci-dir makes a folder.

    Raises:
        Precondition: a Wasm artifact for Docker. Invalid: no images, or another format.
        NotFound: content that is missing. Exhausted, Denied: the disk does not let us.
        BrokenPipeError: who read the stream has left.
    """
    if name not in FORMATS or not images:
        raise Invalid(
            f"cannot save {len(images)} images as {name[:40]!r}", fix=f"formats: {', '.join(FORMATS)}"
        )
    artifacts = [i.shown for i in images if i.format not in CONTAINER_FORMATS]
    if name == "docker-archive" and artifacts:
        raise Precondition(
            f"Docker cannot read {', '.join(artifacts)}, which is no container image",
            fix="convert it first: sampan image convert --format docker",
        )
    try:
        if name == "oci-dir":
            _save_folder(store, images, sink)
        elif isinstance(sink, str):
            _save_file(store, images, sink)
        else:
            _save_stream(store, images, sink)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise from_os_error(error, f"save {images[0].shown}") from error


def _save_folder(store: ContentStore, images: list[Image], sink: str | BinaryIO) -> None:
    if not isinstance(sink, str):
        raise Invalid("a folder cannot be written to a stream", fix="name the folder with -o")
    make_dir(f"{sink}/blobs", 0o755)
    _write_layout(_FolderSink(store, sink), images)


def _save_file(store: ContentStore, images: list[Image], path: str) -> None:
    """A link's target is replaced, not the link; a device or a pipe is written to, never replaced."""
    if os.path.isdir(path):
        raise Invalid(f"cannot write {path}: it is a folder", fix="name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            _save_stream(store, images, file)
        return
    target = os.path.realpath(path)
    part = f"{target}.{os.getpid()}.part"
    try:
        with open(part, "xb") as file:
            _save_stream(store, images, file)
        os.replace(part, target)
    except BaseException as error:
        if os.path.exists(part):
            os.unlink(part)
        if isinstance(error, OSError) and error.filename == part:
            error.filename = path
        raise


def _save_stream(store: ContentStore, images: list[Image], file: BinaryIO) -> None:
    import tarfile

    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _write_layout(_TarSink(store, tar), images)


def _write_layout(sink: Sink, images: list[Image]) -> None:
    """The layout's files; `index.json` last, so that a folder is whole when it names something."""
    sink.add("oci-layout", LAYOUT)
    written: set[str] = set()
    entries: list[Descriptor] = []
    for image in images:
        sink_parts = (*image.manifest.layers, image.manifest.config, image.descriptor)
        for part in sink_parts:
            if part.digest not in written:
                written.add(part.digest)
                sink.add_blob(_path(part), part.digest, part.size)
        names = {ANNOTATION_REF_NAME: image.name, ANNOTATION_CONTAINERD_NAME: image.name}
        bare = image.descriptor
        annotations = names if image.name else {}
        entries.append(Descriptor(bare.media_type, bare.digest, bare.size, annotations))
    docker = _docker_manifest(images)
    if docker:
        sink.add("manifest.json", strictjson.dumps(docker))
    sink.add("index.json", strictjson.dumps(Index(2, entries, OCI_INDEX)))


def _docker_manifest(images: list[Image]) -> list[dict[str, object]]:
    by_digest: dict[str, dict[str, object]] = {}
    for image in images:
        if image.format not in CONTAINER_FORMATS:
            continue
        layers = [_path(d) for d in image.manifest.layers]
        same = [i.name for i in images if i.name and i.descriptor.digest == image.descriptor.digest]
        tags = [parse_reference(name).familiar for name in dict.fromkeys(same)]
        by_digest[image.descriptor.digest] = {
            "Config": _path(image.manifest.config),
            "RepoTags": tags,
            "Layers": layers,
        }
    return list(by_digest.values())


def _path(descriptor: Descriptor) -> str:
    digest = parse_digest(descriptor.digest)
    return f"blobs/{digest.algorithm}/{digest.hex}"


class _TarSink:
    """Members of a tar, all with the same time and owner."""

    def __init__(self, store: ContentStore, tar: tarfile.TarFile) -> None:
        self._store = store
        self._tar = tar

    def add(self, name: str, data: bytes) -> None:
        from io import BytesIO

        self._tar.addfile(self._header(name, len(data)), BytesIO(data))

    def add_blob(self, name: str, digest: str, size: int) -> None:
        with self._store.open(digest) as blob:
            self._tar.addfile(self._header(name, size), blob)

    def _header(self, name: str, size: int) -> tarfile.TarInfo:
        import tarfile

        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o644
        return header


class _FolderSink:
    """Files of a folder, which another tool may be reading."""

    def __init__(self, store: ContentStore, folder: str) -> None:
        self._store = store
        self._folder = folder

    def add(self, name: str, data: bytes) -> None:
        write_file(f"{self._folder}/{name}", data, 0o644)

    def add_blob(self, name: str, digest: str, size: int) -> None:
        path = f"{self._folder}/{name}"
        if os.path.exists(path) and os.path.getsize(path) == size:
            return
        make_dir(os.path.dirname(path), 0o755)
        with self._store.open(digest) as blob, open(f"{path}.part", "wb") as out:
            while chunk := blob.read(CHUNK):
                out.write(chunk)
        os.replace(f"{path}.part", path)
