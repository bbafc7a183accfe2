"""What a root filesystem is made of: the records that image formats hand to the snapshots.

A container image's root filesystem is layers (tar files, applied in order); a Wasm artifact's is one file or
a few. No I/O here.
"""

from __future__ import annotations

from sampan.core.record import Record
from sampan.core.spec.image import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class RootfsLayer(Record):
    """One layer: its blob, and the digest of the tar in it (config.md, "DiffID"), empty where there is none."""

    descriptor: Descriptor
    diff_id: str


class RootfsFile(Record):
    """One blob that becomes the file `path` (relative to the root, `/` between parts), mode 0444."""

    path: str
    descriptor: Descriptor


class Rootfs(Protocol):
    """What the snapshots ask of an image: layers are applied first, in order, then the files are written.

    `chain_id` is a digest that is the same for the same layers and files. `set_ids` tells whether set-user-id files
    mean something: they do for Linux programs.
    """

    @property
    def chain_id(self) -> str: ...

    @property
    def set_ids(self) -> bool: ...

    @property
    def rootfs_layers(self) -> list[RootfsLayer]: ...

    @property
    def files(self) -> list[RootfsFile]: ...
