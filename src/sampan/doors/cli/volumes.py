"""Mounts as the kernel is to make them: host folders, named volumes and those that an image declares."""

from __future__ import annotations

import os

from sampan.container.copyup import copy_up
from sampan.container.store import new_id
from sampan.core.errors import Exists, NotFound, SampanError
from sampan.core.spec.runtime import Mount
from sampan.linux import durable
from sampan.linux.paths import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.roots import Roots
    from sampan.doors.cli.runmounts import MountWish


class Volumes:
    """Makes mounts of wishes for one new container.

    Attributes:
        mounts: in the order to make them, outer places first. `anonymous`: folders that go with the container.
    """

    def __init__(self, roots: Roots, rootfs: str) -> None:
        self._roots = roots
        self._rootfs = rootfs
        self._by_target: dict[str, Mount] = {}
        self.anonymous: list[str] = []

    @property
    def mounts(self) -> list[Mount]:
        return sorted(self._by_target.values(), key=lambda m: m.destination.count("/"))

    def add(self, wish: MountWish) -> None:
        """One mount more; the last one at a place wins.

        Raises:
            NotFound: a source of `--mount` is missing. SampanError: a folder cannot be made.
        """
        options = ["bind", "ro"] if wish.read_only else ["bind"]
        if wish.kind == "tmpfs":
            options = [f"mode={wish.mode:o}", *([f"size={wish.size}"] if wish.size else [])]
            self._by_target[wish.target] = Mount(wish.target, "tmpfs", "tmpfs", options)
            return
        source = self._host_path(wish) if wish.kind == "bind" else self._volume(wish)
        self._by_target[wish.target] = Mount(wish.target, "bind", source, options)

    def add_declared(self, target: str) -> None:
        """A volume that the image declares: one of no name, unless something is mounted there already."""
        from sampan.doors.cli.runmounts import parse_volume

        wish = parse_volume(target)
        if wish.target not in self._by_target:
            self.add(wish)

    def _host_path(self, wish: MountWish) -> str:
        path = os.path.abspath(os.path.expanduser(wish.source))
        if not os.path.lexists(path):
            if not wish.create:
                raise NotFound(f"{path}: no such file or folder to mount at {wish.target}")
            durable.make_dir(path, 0o755)
        return path

    def _volume(self, wish: MountWish) -> str:
        """The folder of a named volume; a new one begins with what the image has at that place."""
        name = wish.source or new_id()
        path = f"{self._roots.data}/volumes/{name}"
        if not os.path.isdir(path):
            self._make_volume(path, wish.target)
        if not wish.source:
            self.anonymous.append(path)
        return path

    def _make_volume(self, path: str, target: str) -> None:
        """A volume is whole or not there: it gets its name when all of the image's files are in it."""
        folder = f"{self._roots.data}/volumes"
        durable.make_dir(folder)
        temporary = f"{folder}/{durable.temporary_name()}"
        durable.make_dir(temporary, 0o755)
        try:
            self._copy_up(target, temporary)
            durable.move(temporary, path)
        except Exists:  # somebody else made it meanwhile
            durable.remove_tree(temporary)
        except BaseException:
            durable.remove_tree(temporary)
            raise

    def _copy_up(self, target: str, volume: str) -> None:
        if not self._rootfs:
            return
        root = os.open(self._rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            source = open_in_root(root, target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except SampanError:  # the image has nothing there
            return
        finally:
            os.close(root)
        copy = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_up(source, copy)
        finally:
            os.close(source)
            os.close(copy)
