"""Which container has a name: what was read of a document counts until the document is written anew."""

from __future__ import annotations

import os

from sampan.core.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Version = tuple[int, int, int]


class Names:
    """Names by container id.

    Args:
        path_of: where the document of an id is; none is ever changed in place. read: the name in it.
    """

    def __init__(self, path_of: Callable[[str], str], read: Callable[[str], str]) -> None:
        self._path_of = path_of
        self._read = read
        self._known: dict[str, tuple[Version, str]] = {}

    def find(self, name: str, ids: Iterable[str]) -> str:
        """The id of the container called so among `ids`, all that there are; empty for none."""
        before = self._known
        found = ""
        known: dict[str, tuple[Version, str]] = {}
        for container_id in ids:
            try:
                version = _version_of(self._path_of(container_id))
                last = before.get(container_id)
                called = last[1] if last is not None and last[0] == version else self._read(container_id)
            except (SampanError, OSError):  # broken, or just removed: it has no name
                continue
            known[container_id] = version, called
            if called == name:
                found = container_id
        self._known = known
        return found


def _version_of(path: str) -> Version:
    state = os.stat(path)
    return state.st_ino, state.st_mtime_ns, state.st_size
