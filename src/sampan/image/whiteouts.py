"""Whiteouts: entries of a layer that take away what lower layers have (image-spec layer.md, "Whiteouts").

One reading of them for unpacking and for trees of entries; taking away is theirs.
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.image.tar import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.image.tar import Entry

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"


def is_whiteout(entry: Entry, parts: list[bytes]) -> bool:
    """Whether an entry, whose path has these names, takes something away instead of adding it.

    Raises:
        Invalid: it lies below a whiteout.
    """
    if any(part.startswith(PREFIX) for part in parts[:-1]):
        raise Invalid(f"the layer has the entry {entry.name[:100]!r} below a whiteout")
    return bool(parts) and parts[-1].startswith(PREFIX)


def hidden_name(entry: Entry, parts: list[bytes]) -> bytes:
    """The name that a whiteout takes away beside it; empty for an opaque one, which empties its folder.

    Raises:
        Invalid: it names nothing, or is a folder.
    """
    if parts[-1] == OPAQUE:
        return b""
    name = parts[-1][len(PREFIX) :]
    if name in (b"", b".", b"..") or name.startswith(PREFIX) or entry.kind == DIRECTORY:
        raise Invalid(f"the layer has the whiteout {entry.name[:100]!r}, which names nothing")
    return name
