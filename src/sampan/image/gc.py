"""Garbage collection of the content store: what no name, no lease and no container's image reaches goes.

Marking and removing happen under the store's lock, so no name appears meanwhile; a collection that is killed
has removed garbage only, and the next one goes on. A manifest that is there but damaged stops it: what it
points to is not known then.
"""

from __future__ import annotations

import os

from sampan.core.errors import Exhausted, Invalid, NotFound, Unimplemented, from_os_error
from sampan.core.record import Record
from sampan.core.spec.image import INDEXES, MANIFESTS, Descriptor, Index
from sampan.core.strictjson import MAX_BYTES
from sampan.image.ingest import remove
from sampan.image.leases import is_stale, leased_digests, list_folder
from sampan.image.registry.documents import parse_document
from sampan.linux.durable import TEMPORARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sampan.image.store import ContentStore


class Pruned(Record):
    """What a collection removed: the digests of blobs, the number of partial files, and all their bytes."""

    digests: list[str] = []
    partial: int = 0
    bytes: int = 0


def prune(store: ContentStore, keep: Iterable[str], grace: float) -> Pruned:
    """As `ContentStore.prune`.

    Raises:
        DataLoss: a manifest or the index is damaged; nothing was removed.
    """
    pruned = Pruned()
    if not os.path.isdir(store.folder):
        return pruned
    with store.lock():
        roots = store.entries() + [_descriptor_of(store, digest) for digest in keep]
        wanted = set(reachable(store, roots)) | leased_digests(f"{store.folder}/leases", grace)
        try:
            for digest, path in stored_blobs(store):
                if digest not in wanted:
                    pruned.bytes += os.stat(path).st_size
                    pruned.digests.append(digest)
                    remove(path)
            _remove_partials(store.folder, grace, pruned)
        except OSError as error:
            raise from_os_error(error, "remove unused blobs") from error
    return pruned


def reachable(store: ContentStore, roots: Iterable[Descriptor]) -> dict[str, Descriptor]:
    """Everything that the roots lead to, themselves included, there or not, by digest.

    Raises:
        DataLoss: a manifest on the way is damaged.
    """
    found: dict[str, Descriptor] = {}
    left = list(roots)
    while left:
        descriptor = left.pop()
        if descriptor.digest not in found:
            found[descriptor.digest] = descriptor
            left += children(store, descriptor)
    return found


def children(store: ContentStore, descriptor: Descriptor) -> list[Descriptor]:
    """What a manifest or an index points to; nothing for other content, or where it is not there.

    Raises:
        DataLoss: the document is damaged.
        SampanError: it cannot be read now; what it points to is not known then.
    """
    if descriptor.media_type not in MANIFESTS + INDEXES or descriptor.size > MAX_BYTES:
        return []
    try:
        data = store.read(descriptor)
    except NotFound:
        return []
    try:
        document = parse_document(data)
    except (Invalid, Exhausted, Unimplemented):  # a document that never could be read never led anywhere
        return []
    return document.manifests if isinstance(document, Index) else [document.config, *document.layers]


def stored_blobs(store: ContentStore) -> list[tuple[str, str]]:
    """The digest and the path of every blob that is there."""
    blobs = f"{store.folder}/blobs"
    return [
        (f"{algorithm}:{name}", f"{blobs}/{algorithm}/{name}")
        for algorithm in list_folder(blobs)
        for name in list_folder(f"{blobs}/{algorithm}")
    ]


def _descriptor_of(store: ContentStore, digest: str) -> Descriptor:
    """A descriptor for the image document with this digest, there or not."""
    try:
        size = os.stat(store.path(digest)).st_size
    except FileNotFoundError:
        size = 0
    return Descriptor(MANIFESTS[0], digest, size)


def _remove_partials(folder: str, grace: float, pruned: Pruned) -> None:
    """Remove the partial blobs of dead processes, and the temporary files that a killed writer left."""
    candidates = [f"{folder}/ingest/{name}" for name in list_folder(f"{folder}/ingest")]
    candidates += [f"{folder}/{name}" for name in list_folder(folder) if name.startswith(TEMPORARY)]
    for path in candidates:
        if is_stale(path, grace):
            pruned.bytes += os.lstat(path).st_size
            pruned.partial += 1
            remove(path)
