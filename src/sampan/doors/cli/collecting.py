"""Collecting what no name and no container needs: content, and the unpacked root filesystems made of it."""

from __future__ import annotations

from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.cli.context import Context
    from sampan.image.store import ContentStore


class Collected(Record):
    """The digests of removed blobs and the chain ids of removed snapshots, and the bytes of both."""

    digests: list[str] = []
    snapshots: list[str] = []
    bytes: int = 0


def collect(context: Context, store: ContentStore) -> Collected:
    """Removes content that no image's name leads to, and snapshots that no image and no container uses.

    Raises:
        SampanError: the store is damaged or cannot be written; nothing more is removed then.
    """
    from sampan.container.lowers import lowers
    from sampan.image.images import chain_ids
    from sampan.image.snapshots import Snapshots
    from sampan.linux.diskusage import bytes_in

    snapshots = Snapshots(f"{context.roots.images}/snapshots")
    sizes = {snapshot.chain_id: bytes_in(snapshot.path) for snapshot in snapshots.all()}

    def in_use() -> list[str]:
        return [name.replace("-", ":", 1) for name in lowers(context.roots, snapshots.folder)]

    removed = snapshots.prune(chain_ids(store), in_use)
    pruned = store.prune()
    return Collected(
        pruned.digests, removed, pruned.bytes + sum(sizes.get(chain_id, 0) for chain_id in removed)
    )
