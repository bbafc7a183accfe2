"""Adding files, folders and links from strangers to a folder that they cannot leave.

Everything is done by descriptors: the folder of an entry is resolved inside the root, and its last name is never
followed, so that neither `..` nor links, old or made by an earlier entry, lead out. Set-id bits and extended
attributes are dropped, FIFOs are passed over with a warning, and devices are refused: a Wasm workload needs none
of them. Nothing here is synced. Layers of images are `unpack`'s, on top of this; `cp` uses it as it is.
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG

from sampan.core.errors import Denied, Exhausted, Invalid, NotFound, Precondition, SampanError, from_os_error
from sampan.image import tar
from sampan.image.layerstream import Limits
from sampan.image.tar import MAX_ID, Entry
from sampan.linux.durable import remove_tree
from sampan.linux.paths import make_dirs_in_root, open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PART = 255
MAX_WARNINGS = 100
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Extractor:
    """Adds entries below one folder, in order; `finish` after the last.

    Args:
        root: a descriptor of the folder, which stays the caller's.
        what: what the entries come from, for errors: "the layer".
        keeps_folders: a folder that is there keeps its mode and times, and no entry takes the place of a folder or,
            being one, of something else: such an entry is an error. Without it, the entry wins.

    Attributes:
        warnings: says what was left out.
    """

    def __init__(self, root: int, limits: Limits, what: str, *, keeps_folders: bool = False) -> None:
        self.warnings: list[str] = []
        self._root = root
        self._limits = limits
        self._what = what
        self._keeps_folders = keeps_folders
        self._entries = 0
        self._owns = os.geteuid() == 0
        self._mode_bits = 0o1777
        self._folders: dict[bytes, Entry] = {}

    def add(self, entry: Entry, pieces: Iterable[bytes]) -> None:
        """Add one entry; `pieces` are a file's content.

        Raises:
            Invalid: its path or its owner is not acceptable; the message names it.
            Denied: a device node, or no permission. Exhausted: more than the limits allow, or no space.
        """
        try:
            self._add(entry, pieces, self._parts(entry.name))
        except OSError as error:
            raise self._refusal(error, entry) from error

    def finish(self) -> None:
        """Give the folders their modes and times, which adding to them would have changed or hindered."""
        deepest_first = sorted(self._folders.items(), key=lambda item: _depth(item[0]), reverse=True)
        for path, entry in deepest_first:
            try:
                self._finish_folder(path, entry)
            except OSError as error:
                raise from_os_error(error, f"set the mode of {path[:100]!r}") from error

    def _parts(self, name: bytes) -> list[bytes]:
        """The names of a path below the root; an absolute path is one below the root, as in every tar."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise Invalid(f"{self._what} has the entry {name[:100]!r}, which leads upwards")
        if any(len(part) > MAX_PART for part in parts):
            raise Invalid(f"{self._what} has a name of more than {MAX_PART} bytes: {name[:100]!r}")
        if len(parts) > self._limits.depth:
            raise Exhausted(f"{self._what} has folders nested deeper than {self._limits.depth}")
        return parts

    def _add(self, entry: Entry, pieces: Iterable[bytes], parts: list[bytes]) -> None:
        self._check(entry)
        if not parts:
            if entry.kind != tar.DIRECTORY:
                raise Invalid(f"{self._what} has an entry in place of the root folder")
            if not self._keeps_folders:
                self._folders[b""] = entry
            return
        if entry.kind == tar.FIFO:
            self._warn(f"the FIFO {entry.name[:100]!r} was left out")
            return
        above = self._open_parent(parts)
        try:
            self._make(entry, pieces, above, parts)
        finally:
            os.close(above)

    def _warn(self, text: str) -> None:
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text)

    def _check(self, entry: Entry) -> None:
        shown = entry.name[:100]
        self._entries += 1
        if self._entries > self._limits.entries:
            raise Exhausted(f"{self._what} has more than {self._limits.entries} files")
        if entry.kind in (tar.CHAR, tar.BLOCK_DEVICE):
            raise Denied(f"{self._what} has the device node {shown!r}", fix="leave it out")
        if not (0 <= entry.uid <= MAX_ID and 0 <= entry.gid <= MAX_ID):
            raise Invalid(
                f"{self._what}'s entry {shown!r} has an owner ({entry.uid}:{entry.gid}) out of range"
            )
        for name in entry.xattrs:
            if name.startswith((b"trusted.overlay.", b"user.overlay.")):
                raise Invalid(f"{self._what}'s entry {shown!r} has the attribute {name[:60]!r}")

    def _open_parent(self, parts: list[bytes]) -> int:
        """The folder that an entry goes into, made where it is missing; links on the way stay in the root."""
        path = os.fsdecode(b"/".join(parts[:-1])) or "."
        try:
            return open_in_root(self._root, path, FOLDER)
        except NotFound:
            pass
        except Invalid as error:
            raise Invalid(f"{self._what}'s folder {error.message}") from error
        try:
            return make_dirs_in_root(self._root, path)
        except (NotFound, Invalid) as error:
            raise Invalid(f"{self._what}'s folder {error.message}") from error

    def _make(self, entry: Entry, pieces: Iterable[bytes], above: int, parts: list[bytes]) -> None:
        name = parts[-1]
        if entry.kind == tar.DIRECTORY:
            if not _is_folder(above, name):
                self._make_room(entry, above, name)
                os.mkdir(name, 0o700, dir_fd=above)
            elif self._keeps_folders:
                return
            path = b"/".join(parts)
            self._folders.pop(path, None)
            self._folders[path] = entry
            if len(self._folders) > self._limits.folders:
                raise Exhausted(f"{self._what} has more than {self._limits.folders} folders")
        elif entry.kind == tar.LINK:
            self._link(entry, above, name)
        elif entry.kind == tar.SYMLINK:
            if not entry.link:
                raise Invalid(f"{self._what}'s link {entry.name[:100]!r} leads nowhere")
            self._make_room(entry, above, name)
            os.symlink(entry.link, name, dir_fd=above)
            if self._owns:
                os.chown(name, entry.uid, entry.gid, dir_fd=above, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=above, follow_symlinks=False)
        else:
            if entry.size > self._limits.bytes:
                raise Exhausted(
                    f"{self._what}'s file {entry.name[:100]!r} has {entry.size} bytes, more than it may"
                )
            self._fill(entry, pieces, above, name)

    def _make_room(self, entry: Entry, above: int, name: bytes) -> None:
        """Take away what an entry takes the place of."""
        found = _lstat(above, name) if self._keeps_folders else None
        if found is not None and S_ISDIR(found.st_mode) != (entry.kind == tar.DIRECTORY):
            kinds = (
                "a folder and is not one there"
                if entry.kind == tar.DIRECTORY
                else "no folder and is one there"
            )
            raise Precondition(f"{entry.name[:100].decode(errors='replace')!r} is {kinds}, which stays")
        remove(above, name)

    def _fill(self, entry: Entry, pieces: Iterable[bytes], above: int, name: bytes) -> None:
        self._make_room(entry, above, name)
        fd = os.open(name, _NEW, 0o600, dir_fd=above)
        try:
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    left = left[os.write(fd, left) :]
            self._dress(fd, entry)
        finally:
            os.close(fd)

    def _link(self, entry: Entry, above: int, name: bytes) -> None:
        """Make a hard link to a regular file of the tree, an earlier entry or there before."""
        shown = f"{self._what}'s hard link {entry.name[:100]!r} to {entry.link[:100]!r}"
        target = self._parts(entry.link)
        if not target:
            raise Invalid(f"{shown} leads nowhere")
        try:
            folder = open_in_root(self._root, os.fsdecode(b"/".join(target[:-1])) or ".", FOLDER)
        except (NotFound, Invalid) as error:
            raise Invalid(f"{shown} leads nowhere") from error
        try:
            found = _lstat(folder, target[-1])
            if found is None or not S_ISREG(found.st_mode):
                raise Invalid(f"{shown} leads to no regular file")
            there = _lstat(above, name)
            if there is None or (there.st_dev, there.st_ino) != (found.st_dev, found.st_ino):
                self._make_room(entry, above, name)
                os.link(target[-1], name, src_dir_fd=folder, dst_dir_fd=above, follow_symlinks=False)
        except FileNotFoundError as error:  # the link stood in place of a folder with its target in it
            raise Invalid(f"{shown} leads nowhere") from error
        finally:
            os.close(folder)

    def _dress(self, fd: int, entry: Entry) -> None:
        """Owner, then mode (a change of owner drops bits), then times."""
        if self._owns:
            os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode & self._mode_bits)
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _finish_folder(self, path: bytes, entry: Entry) -> None:
        above, _, name = path.rpartition(b"/")
        try:
            parent = open_in_root(self._root, os.fsdecode(above) or ".", FOLDER)
        except (NotFound, Invalid):  # removed by a later layer
            return
        try:
            fd = os.open(
                name or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=parent
            )
        except (FileNotFoundError, NotADirectoryError):
            return
        finally:
            os.close(parent)
        try:
            self._dress(fd, entry)
        finally:
            os.close(fd)

    def _refusal(self, error: OSError, entry: Entry) -> SampanError:
        from errno import EBUSY, EILSEQ, EINVAL, ELOOP, EMLINK, ENAMETOOLONG, ENOTDIR

        shown = f"unpack {entry.name[:100]!r}"
        if error.errno == EMLINK:
            return Exhausted(f"cannot {shown}: {error.strerror}")
        if error.errno == EBUSY:
            return Precondition(f"cannot {shown}: something is mounted there")
        if error.errno in (EILSEQ, EINVAL, ELOOP, ENAMETOOLONG, ENOTDIR):
            return Invalid(f"cannot {shown}: {error.strerror}")
        return from_os_error(error, shown)


def remove(above: int, name: bytes) -> None:
    """Remove what has this name in the folder, whatever it is; nothing is fine."""
    try:
        os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        remove_tree(f"/proc/self/fd/{above}/{os.fsdecode(name)}")


def _depth(path: bytes) -> int:
    return path.count(b"/") + 1 if path else 0


def _lstat(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _is_folder(above: int, name: bytes) -> bool:
    found = _lstat(above, name)
    return found is not None and S_ISDIR(found.st_mode)
