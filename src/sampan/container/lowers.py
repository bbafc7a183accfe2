"""Which unpacked images containers use: as their root filesystem, or by a mount (an image as a volume)."""

from __future__ import annotations

from sampan.container.store import Containers
from sampan.core.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.roots import Roots


def lowers(roots: Roots, folder: str) -> list[str]:
    """The names of the folders in `folder` that any container uses, sorted."""
    above = f"{folder}/"
    used: set[str] = set()
    for entry in Containers(roots).all():
        paths = [entry.container.lower, *_mounted(entry)]
        used |= {path.removeprefix(above).partition("/")[0] for path in paths if path.startswith(above)}
    return sorted(used)


def _mounted(entry: Entry) -> list[str]:
    try:
        return [mount.source for mount in entry.spec.mounts]
    except SampanError:  # a spec that cannot be read mounts nothing
        return []
