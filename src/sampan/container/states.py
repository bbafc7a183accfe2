"""The state root of an OCI runtime: a folder `ROOT/ID` for each container, whose bundle is somewhere else.

The folder holds a frozen copy of the bundle's `config.json`: what is changed in the bundle afterwards changes no
container (runtime.md, "Lifecycle"). A folder without a record of ours belongs to the runtime for Linux containers
that shares this root.
"""

from __future__ import annotations

import os

from sampan.container.records import Container, check_name
from sampan.container.store import RECORD, Entry, read_entry
from sampan.core import strictjson
from sampan.core.errors import Exists, NotFound, SampanError, from_os_error
from sampan.linux import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Spec


class StateRoot:
    """All containers below one root."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def create(self, container: Container, spec: Spec) -> Entry:
        """The record of a new container; of many at once with the same id, one wins.

        Raises:
            Exists: the id is taken, by us or by the runtime for Linux containers.
        """
        check_name(container.id, "container id")
        folder = self._path(container.id)
        temporary = f"{self.folder}/.new-{os.urandom(8).hex()}"
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            os.mkdir(temporary, 0o700)
            _write(f"{temporary}/config.json", strictjson.dumps(spec))
            _write(f"{temporary}/{RECORD}", strictjson.dumps(container))
            os.rename(temporary, folder)
        except OSError as error:
            durable.remove_tree(temporary)
            if os.path.exists(folder):
                raise Exists(
                    f"a container with the id {container.id!r} exists", fix="delete it, or choose another id"
                ) from None
            raise from_os_error(error, f"create the state of container {container.id!r}") from error
        return Entry(folder, container, spec)

    def find(self, container_id: str) -> Entry:
        """The container with this id.

        Raises:
            NotFound: there is none of ours. DataLoss: its record cannot be read.
        """
        check_name(container_id, "container id")
        try:
            return read_entry(self._path(container_id))
        except NotFound:
            raise NotFound(f"container {container_id!r} does not exist") from None

    def is_ours(self, container_id: str) -> bool:
        """Whether the container is one of ours."""
        return os.path.exists(f"{self._path(container_id)}/{RECORD}")

    def is_foreign(self, container_id: str) -> bool:
        """Whether it is one of the runtime's for Linux containers."""
        return os.path.isdir(self._path(container_id)) and not self.is_ours(container_id)

    def all(self) -> list[Entry]:
        """Every container of ours that can be read, by id."""
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        entries = []
        for name in names:
            try:
                entries.append(read_entry(f"{self.folder}/{name}"))
            except SampanError:  # not ours, or it went away while we looked
                continue
        return entries

    def has_foreign(self) -> bool:
        """Whether there is any container of the runtime for Linux containers."""
        try:
            names = [n for n in os.listdir(self.folder) if not n.startswith(".")]
        except FileNotFoundError:
            return False
        return any(self.is_foreign(name) for name in names)

    def forget(self, container_id: str) -> None:
        """Removes a container's folder: from the list first, then its files."""
        doomed = f"{self.folder}/.gone-{os.urandom(8).hex()}"
        try:
            os.rename(self._path(container_id), doomed)
        except FileNotFoundError:
            raise NotFound(f"container {container_id!r} does not exist") from None
        durable.remove_tree(doomed, lasting=False)

    def _path(self, container_id: str) -> str:
        return f"{self.folder}/{container_id}"


def _write(path: str, data: bytes) -> None:
    """A reboot takes the root and the containers alike: nothing has to be forced to a disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
