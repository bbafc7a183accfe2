"""Layers: entries to a tar that is the same bytes for the same entries, and stored layers back to entries.

A written layer is sorted, has no names of users, whole seconds, one time for all where an epoch is given, and is
compressed by gzip without a time stamp. Refuses devices. Follows image-spec layer.md.
"""

from __future__ import annotations

from sampan.core.digest import Digest
from sampan.core.errors import DataLoss, Denied, from_os_error
from sampan.core.spec.image import OCI_LAYER_GZIP, Descriptor
from sampan.image.compression import decompressed
from sampan.image.entries import Entry, Tree, read_tar
from sampan.image.ingest import NewBlob
from sampan.image.layers import RootfsLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable

    from sampan.image.layers import Rootfs, RootfsFile
    from sampan.image.store import ContentStore

LEVEL = 6
MODULE_MODE = 0o755  # other runtimes ask for the executable bit


def write_layer(store: ContentStore, entries: Iterable[Entry], epoch: int | None = None) -> RootfsLayer:
    """Store a layer of these entries.

    Args:
        epoch: seconds since 1970 (SOURCE_DATE_EPOCH): the time of every entry, for a checkout's own times differ.

    Raises:
        Denied: an entry is a device, a FIFO or a socket.
        DataLoss: a file ended before its size.
    """
    import tarfile

    store.make()
    with NewBlob(store.folder) as blob:
        sink = _Sink(blob)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for entry in sorted(entries, key=lambda e: e.path):
                _write_entry(tar, entry, epoch)
        sink.finish()
        digest = blob.commit()
    return RootfsLayer(Descriptor(OCI_LAYER_GZIP, digest, blob.size), sink.diff_id)


def store_tar(store: ContentStore, chunks: Iterable[bytes]) -> RootfsLayer:
    """Store a tar that exists already as a layer, compressed."""
    store.make()
    with NewBlob(store.folder) as blob:
        sink = _Sink(blob)
        for chunk in chunks:
            sink.write(chunk)
        sink.finish()
        digest = blob.commit()
    return RootfsLayer(Descriptor(OCI_LAYER_GZIP, digest, blob.size), sink.diff_id)


class _Sink:
    """What `tarfile` writes to: hashes the tar, compresses it, hands it to the blob."""

    def __init__(self, blob: NewBlob) -> None:
        import hashlib
        import zlib

        self._blob = blob
        self._hash = hashlib.sha256()
        self._gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._blob.write(self._gzip.compress(data))
        return len(data)

    def finish(self) -> None:
        self._blob.write(self._gzip.flush())

    @property
    def diff_id(self) -> Digest:
        return Digest(f"sha256:{self._hash.hexdigest()}")


def _write_entry(tar: tarfile.TarFile, entry: Entry, epoch: int | None) -> None:
    import tarfile

    types = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
    if entry.kind not in types:
        raise Denied(f"{entry.path!r} is a device, a FIFO or a socket", fix="a Wasm image cannot hold these")
    header = tarfile.TarInfo(entry.path)
    header.type = types[entry.kind]
    header.mode, header.uid, header.gid = entry.mode, entry.uid, entry.gid
    header.mtime = max(0, entry.mtime if epoch is None else epoch)
    header.linkname = entry.target
    if entry.kind != "file":
        tar.addfile(header)
        return
    header.size = entry.size
    with entry.content() as stream:
        try:
            tar.addfile(header, stream)
        except OSError as error:
            raise DataLoss(f"{entry.path!r} changed while it was read") from error


def read_tree(store: ContentStore, image: Rootfs) -> Tree:
    """The whole root filesystem of an image, as entries."""
    tree = Tree()
    for layer in image.rootfs_layers:
        add_layer(store, layer, tree)
    for file in image.files:
        tree.add(file_entry(store, file))
    return tree


def add_layer(store: ContentStore, layer: RootfsLayer, tree: Tree) -> None:
    """Apply one stored layer to a tree; its diff id is checked.

    Raises:
        DataLoss: the layer is not the one that the configuration names.
    """
    what = f"the layer {layer.descriptor.digest}"
    with store.open(layer.descriptor.digest) as blob:
        spool, diff_id = spooled(decompressed(blob, what))
    if layer.diff_id.startswith("sha256:") and diff_id != layer.diff_id:
        raise DataLoss(f"{what} does not have the diff id {layer.diff_id}", fix="pull the image again")
    read_tar(spool, tree)


class Spool:
    """A temporary file without a name, closed with the last entry that reads it."""

    def __init__(self) -> None:
        import tempfile

        self._file = tempfile.TemporaryFile()

    def __del__(self) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def spooled(chunks: Iterable[bytes]) -> tuple[Spool, Digest]:
    """Bytes in a temporary file, at its start, and their SHA-256.

    Raises:
        Exhausted: no space for it.
    """
    import hashlib

    state = hashlib.sha256()
    try:
        spool = Spool()
        for chunk in chunks:
            state.update(chunk)
            spool.write(chunk)
        spool.seek(0)
    except OSError as error:
        raise from_os_error(error, "unpack to a temporary file") from error
    return spool, Digest(f"sha256:{state.hexdigest()}")


def file_entry(store: ContentStore, file: RootfsFile, mtime: int = 0) -> Entry:
    """A blob of the store as the file that it becomes."""
    digest = file.descriptor.digest
    size = file.descriptor.size
    return Entry(file.path, "file", MODULE_MODE, 0, 0, mtime, size, "", lambda: store.open(digest))
