"""Unpacking layers into a folder that they cannot leave (image specification, layer.md).

Everything is done by descriptors: the folder of an entry is resolved inside the root, and its last name is never
followed, so that neither `..` nor links, old or made by the same layer, lead out. What a layer removes is
removed first and what it adds comes after, so that the order of its entries does not matter. Set-id bits and
extended attributes are dropped, FIFOs are passed over with a warning, and devices are refused: a Wasm workload
needs none of them. Nothing here is synced or visible: that is for `snapshots`.
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG

from sampan.core.errors import Denied, Exhausted, Invalid, NotFound, SampanError, from_os_error
from sampan.image import tar
from sampan.image.layerstream import LayerStream, Limits
from sampan.image.tar import Entry, TarReader
from sampan.linux.durable import remove_tree
from sampan.linux.paths import make_dirs_in_root, open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
MAX_PART = 255
MAX_ID = (1 << 31) - 1
MAX_WARNINGS = 100
CHUNK = 256 << 10
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """Applies the layers of one image, in order, to one empty folder; `finish` after the last.

    `warnings` says what was left out.
    """

    def __init__(self, folder: str, limits: Limits | None = None) -> None:
        self.warnings: list[str] = []
        self._limits = limits or Limits()
        self._bytes = 0
        self._entries = 0
        self._first = True
        self._owns = os.geteuid() == 0
        self._folders: dict[bytes, Entry] = {}
        try:
            self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise from_os_error(error, f"unpack into {folder!r}") from error
        os.fchmod(self._root, 0o755)

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def apply(self, file: BinaryIO, size: int, diff_id: str) -> None:
        """Apply one layer.

        Args:
            file: the blob, at its beginning, seekable.
            size: of the blob, in bytes.
            diff_id: the digest of the tar in it.

        Raises:
            Invalid: the archive is malformed, or an entry is not acceptable; the message names it.
            Denied: a device node.
            DataLoss: truncated, damaged, or not what `diff_id` says.
            Exhausted: more bytes, entries or folders than `Limits` allows; or no space.
        """
        if not self._first:
            self._pass(file, size, diff_id, self._remove_hidden)
            file.seek(0)
        self._bytes += self._pass(file, size, diff_id, self._add)
        self._first = False

    def write_file(self, path: str, pieces: Iterable[bytes], mode: int = 0o444) -> None:
        """Write one file, not from a layer, in place of what is there.

        Raises:
            Invalid: the path is none, or leads upwards.
            Exhausted: no space, or more bytes than `Limits` allows.
        """
        entry = Entry()
        entry.name, entry.mode, entry.uid, entry.gid, entry.mtime = os.fsencode(path), mode, 0, 0, 0
        parts = self._parts(entry.name)
        if not parts:
            raise Invalid("a file of the image has no name")
        above = self._open_parent(parts)
        try:
            self._fill(entry, above, parts[-1], self._counted(pieces))
        except OSError as error:
            raise _refusal(error, entry) from error
        finally:
            os.close(above)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._bytes += len(piece)
            if self._bytes > self._limits.bytes:
                raise Exhausted(f"the image unpacks to more than the {self._limits.bytes} bytes that it may")
            yield piece

    def finish(self) -> None:
        """Give the folders their modes and times, which adding to them would have changed or hindered."""
        deepest_first = sorted(self._folders.items(), key=lambda item: _depth(item[0]), reverse=True)
        for path, entry in deepest_first:
            try:
                self._finish_folder(path, entry)
            except OSError as error:
                raise from_os_error(error, f"set the mode of {path[:100]!r}") from error

    def _pass(
        self, file: BinaryIO, size: int, diff_id: str, each: Callable[[TarReader, Entry, list[bytes]], None]
    ) -> int:
        """Call `each` for all entries of a layer; the layer's size when unpacked."""
        left = self._limits.replace(bytes=self._limits.bytes - self._bytes)
        stream = LayerStream(file, size, left, diff_id)
        reader = TarReader(stream)
        for entry in reader:
            try:
                each(reader, entry, self._parts(entry.name))
            except OSError as error:
                raise _refusal(error, entry) from error
        stream.finish()
        return stream.position

    def _parts(self, name: bytes) -> list[bytes]:
        """The names of a path below the root; an absolute path is one below the root, as in every tar."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise Invalid(f"the layer has the entry {name[:100]!r}, which leads upwards")
        if any(len(part) > MAX_PART for part in parts):
            raise Invalid(f"the layer has a name of more than {MAX_PART} bytes: {name[:100]!r}")
        if len(parts) > self._limits.depth:
            raise Exhausted(f"the layer has folders nested deeper than {self._limits.depth}")
        return parts

    # What a layer removes.

    def _remove_hidden(self, _: TarReader, entry: Entry, parts: list[bytes]) -> None:
        if not parts or not parts[-1].startswith(WHITEOUT):
            return
        if parts[-1] == OPAQUE:
            folder = self._open_plain_folder(parts[:-1])
            if folder is not None:
                try:
                    for name in os.listdir(folder):
                        _remove(folder, os.fsencode(name))
                finally:
                    os.close(folder)
            return
        hidden = _hidden_name(entry, parts)
        try:
            above = open_in_root(self._root, os.fsdecode(b"/".join(parts[:-1])) or ".", _FOLDER)
        except NotFound:
            return
        try:
            _remove(above, hidden)
        finally:
            os.close(above)

    def _open_plain_folder(self, parts: list[bytes]) -> int | None:
        """A folder by its real path; None where a name is missing or a link.

        A layer that puts an opaque folder in place of a link means that folder, and not what the link led to.
        """
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        for part in parts:
            above = fd
            try:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
                fd = os.open(part, flags, dir_fd=above)
            except (FileNotFoundError, NotADirectoryError):
                return None
            finally:
                os.close(above)
        return fd

    # What a layer adds.

    def _add(self, reader: TarReader, entry: Entry, parts: list[bytes]) -> None:
        self._check(entry, parts)
        if not parts:
            if entry.kind != tar.DIRECTORY:
                raise Invalid("the layer has an entry in place of the root folder")
            self._folders[b""] = entry
            return
        if parts[-1].startswith(WHITEOUT):
            if parts[-1] != OPAQUE:
                _hidden_name(entry, parts)
            return
        if entry.kind == tar.FIFO:
            if len(self.warnings) < MAX_WARNINGS:
                self.warnings.append(f"the FIFO {entry.name[:100]!r} was left out")
            return
        above = self._open_parent(parts)
        try:
            self._make(reader, entry, above, parts)
        finally:
            os.close(above)

    def _check(self, entry: Entry, parts: list[bytes]) -> None:
        shown = entry.name[:100]
        self._entries += 1
        if self._entries > self._limits.entries:
            raise Exhausted(f"the image has more than {self._limits.entries} files")
        if any(part.startswith(WHITEOUT) for part in parts[:-1]):
            raise Invalid(f"the layer has the entry {shown!r} below a whiteout")
        if entry.kind in (tar.CHAR, tar.BLOCK_DEVICE):
            raise Denied(f"the layer has the device node {shown!r}", fix="build the image without it")
        if not (0 <= entry.uid <= MAX_ID and 0 <= entry.gid <= MAX_ID):
            raise Invalid(f"the layer's entry {shown!r} has an owner ({entry.uid}:{entry.gid}) out of range")
        for name in entry.xattrs:
            if name.startswith((b"trusted.overlay.", b"user.overlay.")):
                raise Invalid(f"the layer's entry {shown!r} has the attribute {name[:60]!r}")

    def _open_parent(self, parts: list[bytes]) -> int:
        """The folder that an entry goes into, made where it is missing; links on the way stay in the root."""
        path = os.fsdecode(b"/".join(parts[:-1])) or "."
        try:
            return open_in_root(self._root, path, _FOLDER)
        except NotFound:
            pass
        except Invalid as error:
            raise Invalid(f"the layer's folder {error.message}") from error
        try:
            return make_dirs_in_root(self._root, path)
        except (NotFound, Invalid) as error:
            raise Invalid(f"the layer's folder {error.message}") from error

    def _make(self, reader: TarReader, entry: Entry, above: int, parts: list[bytes]) -> None:
        name = parts[-1]
        if entry.kind == tar.DIRECTORY:
            if not _is_folder(above, name):
                _remove(above, name)
                os.mkdir(name, 0o700, dir_fd=above)
            path = b"/".join(parts)
            self._folders.pop(path, None)
            self._folders[path] = entry
            if len(self._folders) > self._limits.folders:
                raise Exhausted(f"the image has more than {self._limits.folders} folders")
        elif entry.kind == tar.LINK:
            self._link(entry, above, name)
        elif entry.kind == tar.SYMLINK:
            if not entry.link:
                raise Invalid(f"the layer's link {entry.name[:100]!r} leads nowhere")
            _remove(above, name)
            os.symlink(entry.link, name, dir_fd=above)
            if self._owns:
                os.chown(name, entry.uid, entry.gid, dir_fd=above, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=above, follow_symlinks=False)
        else:
            self._write(reader, entry, above, name)

    def _write(self, reader: TarReader, entry: Entry, above: int, name: bytes) -> None:
        if entry.size > self._limits.bytes:
            raise Exhausted(f"the layer's file {entry.name[:100]!r} has {entry.size} bytes, more than it may")
        self._fill(entry, above, name, iter(lambda: reader.read(CHUNK), b""))

    def _fill(self, entry: Entry, above: int, name: bytes, pieces: Iterable[bytes]) -> None:
        _remove(above, name)
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
        """Make a hard link to a regular file of the tree, in this layer or below it."""
        shown = f"the layer's hard link {entry.name[:100]!r} to {entry.link[:100]!r}"
        target = self._parts(entry.link)
        if not target:
            raise Invalid(f"{shown} leads nowhere")
        try:
            folder = open_in_root(self._root, os.fsdecode(b"/".join(target[:-1])) or ".", _FOLDER)
        except (NotFound, Invalid) as error:
            raise Invalid(f"{shown} leads nowhere") from error
        try:
            found = _lstat(folder, target[-1])
            if found is None or not S_ISREG(found.st_mode):
                raise Invalid(f"{shown} leads to no regular file")
            there = _lstat(above, name)
            if there is None or (there.st_dev, there.st_ino) != (found.st_dev, found.st_ino):
                _remove(above, name)
                os.link(target[-1], name, src_dir_fd=folder, dst_dir_fd=above, follow_symlinks=False)
        except FileNotFoundError as error:  # the link stood in place of a folder with its target in it
            raise Invalid(f"{shown} leads nowhere") from error
        finally:
            os.close(folder)

    def _dress(self, fd: int, entry: Entry) -> None:
        """Owner, then mode (a change of owner drops bits), then times."""
        if self._owns:
            os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode & 0o1777)
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _finish_folder(self, path: bytes, entry: Entry) -> None:
        above, _, name = path.rpartition(b"/")
        try:
            parent = open_in_root(self._root, os.fsdecode(above) or ".", _FOLDER)
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


def _depth(path: bytes) -> int:
    return path.count(b"/") + 1 if path else 0


def _hidden_name(entry: Entry, parts: list[bytes]) -> bytes:
    """What a whiteout hides: a plain name."""
    name = parts[-1][len(WHITEOUT) :]
    if name in (b"", b".", b"..") or name.startswith(WHITEOUT) or entry.kind == tar.DIRECTORY:
        raise Invalid(f"the layer has the whiteout {entry.name[:100]!r}, which names nothing")
    return name


def _refusal(error: OSError, entry: Entry) -> SampanError:
    from errno import EILSEQ, EINVAL, ELOOP, EMLINK, ENAMETOOLONG, ENOTDIR

    shown = f"unpack {entry.name[:100]!r}"
    if error.errno == EMLINK:
        return Exhausted(f"cannot {shown}: {error.strerror}")
    if error.errno in (EILSEQ, EINVAL, ELOOP, ENAMETOOLONG, ENOTDIR):
        return Invalid(f"cannot {shown}: {error.strerror}")
    return from_os_error(error, shown)


def _lstat(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _is_folder(above: int, name: bytes) -> bool:
    found = _lstat(above, name)
    return found is not None and S_ISDIR(found.st_mode)


def _remove(above: int, name: bytes) -> None:
    """Remove what has this name in the folder, whatever it is; nothing is fine."""
    try:
        os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        remove_tree(f"/proc/self/fd/{above}/{os.fsdecode(name)}")
