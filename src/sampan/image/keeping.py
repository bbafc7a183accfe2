"""Blobs that are written now and named later, kept from being collected in between."""

from __future__ import annotations

from sampan.core.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sampan.image.leases import Lease
    from sampan.image.store import ContentStore


def keep(store: ContentStore, lease: Lease, digests: Iterable[str]) -> None:
    """Put blobs that were just written under a lease.

    Raises:
        Unavailable: one was collected before that; the whole operation can be tried again.
    """
    wanted = list(digests)
    lease.add(wanted)
    for digest in wanted:
        if not store.has(digest):
            raise Unavailable(f"the blob {digest} was pruned while it was in use", fix="try again")
