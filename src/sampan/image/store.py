"""The content store: blobs by digest and names, laid out as an OCI image layout, so that other tools read it.

    oci-layout, index.json, blobs/ALG/HEX     as in image-layout.md
    ingest/                                   blobs on their way in
    leases/                                   what a collection must not touch yet
    quarantine/                               what `fsck` found damaged, each with its reason
    lock                                      held while names change and while blobs are collected

Any number of processes use it at once. What it has told anyone is on the disk. It knows nothing of image
formats beyond what points to what, and speaks to no registry.
"""

from __future__ import annotations

import os

from sampan.core.digest import digest_of, parse_digest
from sampan.core.errors import DataLoss, Exhausted, NotFound, from_os_error
from sampan.core.spec.image import Descriptor
from sampan.image import index
from sampan.image.ingest import CHUNK, Ingest, NewBlob
from sampan.image.leases import GRACE, Lease
from sampan.linux.durable import make_dir, write_file
from sampan.linux.locks import FileLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from sampan.image.fsck import Report
    from sampan.image.gc import Pruned

MAX_DOCUMENT = 4 << 20


class ContentStore:
    """All images of one user, below one folder (mode 0700), which is made at the first write."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)
        self._index = f"{self.folder}/index.json"
        self._made = False

    def path(self, digest: str) -> str:
        """Where the blob with this digest is, or would be.

        Raises:
            Invalid: not a digest.
        """
        checked = parse_digest(digest)
        return f"{self.folder}/blobs/{checked.algorithm}/{checked.hex}"

    def has(self, digest: str) -> bool:
        """Whether the blob is there. Add it to a lease first, or it may be collected at once."""
        return os.path.exists(self.path(digest))

    def open(self, digest: str) -> BinaryIO:
        """The blob, for reading.

        Raises:
            NotFound: no such blob.
        """
        path = self.path(digest)
        try:
            return open(path, "rb")
        except FileNotFoundError:
            raise NotFound(f"the image store has no blob {digest}", fix="pull the image again") from None
        except OSError as error:
            raise from_os_error(error, f"read the blob {digest}") from error

    def read(self, descriptor: Descriptor) -> bytes:
        """A small blob (a manifest, a configuration), whole and checked against its digest.

        Raises:
            NotFound: no such blob.
            Exhausted: more than 4 MiB.
            DataLoss: not the bytes that the descriptor describes.
        """
        if descriptor.size > MAX_DOCUMENT:
            raise Exhausted(f"the document {descriptor.digest} has {descriptor.size} bytes, more than 4 MiB")
        digest = parse_digest(descriptor.digest)
        with self.open(digest) as file:
            try:
                data = file.read(MAX_DOCUMENT + 1)
            except OSError as error:
                raise from_os_error(error, f"read the blob {digest}") from error
        if len(data) != descriptor.size or digest_of(data, digest.algorithm) != digest:
            raise DataLoss(f"the stored blob {digest} is damaged", fix="run: sampan system fsck")
        return data

    def ingest(self, descriptor: Descriptor) -> Ingest:
        """The right to write this blob; waits while another process writes it.

        Raises:
            Invalid: the descriptor's digest or size is not one.
            Exhausted, Denied: the disk does not let us.
        """
        self.make()
        return Ingest(self.folder, descriptor)

    def put(self, data: bytes, media_type: str, annotations: dict[str, str] | None = None) -> Descriptor:
        """Store some bytes; the descriptor that they have from now on."""
        descriptor = Descriptor(media_type, digest_of(data), len(data), annotations or {})
        self.fill(descriptor, [data])
        return descriptor

    def fill(self, descriptor: Descriptor, pieces: Iterable[bytes]) -> None:
        """Store a blob that is known before it comes; nothing is read of one that is there.

        Raises:
            DataLoss: the pieces are not what the descriptor says.
            SampanError: as `ingest`.
        """
        with self.ingest(descriptor) as ingest:
            if ingest.complete:
                return
            ingest.restart()
            for piece in pieces:
                ingest.write(piece)
            ingest.commit()

    def put_stream(
        self, stream: BinaryIO, media_type: str, annotations: dict[str, str] | None = None
    ) -> Descriptor:
        """Store what a stream yields, of any length, by its SHA-256.

        Raises:
            Exhausted: no space.
            DataLoss: the disk failed.
        """
        self.make()
        with NewBlob(self.folder) as blob:
            try:
                while chunk := stream.read(CHUNK):
                    blob.write(chunk)
            except OSError as error:
                raise from_os_error(error, "read what shall be stored") from error
            digest = blob.commit()
        return Descriptor(media_type, digest, blob.size, annotations or {})

    def put_file(self, path: str, media_type: str, annotations: dict[str, str] | None = None) -> Descriptor:
        """Store a copy of a regular file.

        Raises:
            NotFound, Denied: it cannot be read.
        """
        try:
            file = open(path, "rb")
        except OSError as error:
            raise from_os_error(error, f"read {path!r}") from error
        with file:
            return self.put_stream(file, media_type, annotations)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Let `name` (a full reference) lead to this content, in place of what it led to.

        Raises:
            NotFound: the store has no such blob.
        """
        self.make()
        with self.lock():
            if not self.has(descriptor.digest):
                raise NotFound(f"cannot tag {name}: the image store has no blob {descriptor.digest}")
            found = index.read_index(self._index)
            entry = index.named(descriptor, name)
            if entry in found.manifests:
                return
            kept = [e for e in found.manifests if index.name_of(e) != name]
            index.write_index(self._index, found.replace(manifests=[*kept, entry]))

    def untag(self, name: str) -> None:
        """Forget a name; its content stays until a collection.

        Raises:
            NotFound: no such name.
        """
        if name not in self.names():  # also: make nothing in a folder that is not there
            raise NotFound(f"there is no image named {name}")
        with self.lock():
            found = index.read_index(self._index)
            kept = [e for e in found.manifests if index.name_of(e) != name]
            index.write_index(self._index, found.replace(manifests=kept))

    def names(self) -> dict[str, Descriptor]:
        """All names, sorted, each with the descriptor that it was given.

        Raises:
            DataLoss: the index is damaged.
        """
        entries = index.read_index(self._index).manifests
        return {n: index.nameless(e) for n, e in sorted((index.name_of(e), e) for e in entries) if n}

    def entries(self) -> list[Descriptor]:
        """All entries of the index, the nameless ones of other tools too."""
        return index.read_index(self._index).manifests

    def lease(self) -> Lease:
        """A lease: `with store.lease() as lease: lease.add(digests)` keeps blobs from being collected."""
        self.make()
        return Lease(self.folder)

    def prune(self, keep: Iterable[str] = (), grace: float = GRACE) -> Pruned:
        """Remove every blob that no name, no lease and none of `keep` (manifest digests) reaches.

        Args:
            grace: seconds for which what a dead process left (partial blobs, leases) is kept.
        """
        from sampan.image.gc import prune

        return prune(self, keep, grace)

    def fsck(self, deep: bool = False) -> Report:
        """Check what the names reach, put what is damaged into quarantine, and say so; `deep` reads every byte."""
        from sampan.image.fsck import fsck

        return fsck(self, deep)

    def lock(self) -> FileLock:
        """The lock under which names change and blobs are collected."""
        return FileLock(f"{self.folder}/lock")

    def make(self) -> None:
        """Make the folders, if they are not there."""
        if self._made:
            return
        for name in ("blobs/sha256", "blobs/sha512", "ingest", "leases"):
            make_dir(f"{self.folder}/{name}")
        if not os.path.exists(f"{self.folder}/oci-layout"):
            write_file(f"{self.folder}/oci-layout", index.LAYOUT, 0o644)
        with self.lock():
            if not os.path.exists(self._index):
                index.write_index(self._index, index.EMPTY)
        self._made = True
