"""Unpacking layers into a folder that they cannot leave (image specification, layer.md).

What a layer removes is removed first and what it adds comes after, so that the order of its entries does not
matter. How each is added, and what is refused, is `extract`'s. Nothing here is synced or visible: that is for
`snapshots`.
"""

from __future__ import annotations

import os

from sampan.core.errors import Exhausted, Invalid, NotFound, from_os_error
from sampan.image.extract import FOLDER, Extractor, remove
from sampan.image.layerstream import LayerStream, Limits
from sampan.image.tar import Entry, TarReader
from sampan.image.whiteouts import hidden_name, is_whiteout
from sampan.linux.paths import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

CHUNK = 256 << 10


class Unpacker(Extractor):
    """Applies the layers of one image, in order, to one empty folder; `finish` after the last.

    Args:
        set_ids: whether root keeps the bits by which a program runs as its file's owner or group.
    """

    def __init__(self, folder: str, limits: Limits | None = None, *, set_ids: bool = False) -> None:
        try:
            root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise from_os_error(error, f"unpack into {folder!r}") from error
        os.fchmod(root, 0o755)
        super().__init__(root, limits or Limits(), "the layer")
        if set_ids and self._owns:
            self._mode_bits = 0o7777
        self._bytes = 0
        self._first = True

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
        self._bytes += self._pass(file, size, diff_id, self._add_entry)
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
            self._fill(entry, self._counted(pieces), above, parts[-1])
        except OSError as error:
            raise self._refusal(error, entry) from error
        finally:
            os.close(above)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._bytes += len(piece)
            if self._bytes > self._limits.bytes:
                raise Exhausted(f"the image unpacks to more than the {self._limits.bytes} bytes that it may")
            yield piece

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
                raise self._refusal(error, entry) from error
        stream.finish()
        return stream.position

    def _remove_hidden(self, _: TarReader, entry: Entry, parts: list[bytes]) -> None:
        if not is_whiteout(entry, parts):
            return
        hidden = hidden_name(entry, parts)
        if not hidden:
            folder = self._open_plain_folder(parts[:-1])
            if folder is not None:
                try:
                    for name in os.listdir(folder):
                        remove(folder, os.fsencode(name))
                finally:
                    os.close(folder)
            return
        try:
            above = open_in_root(self._root, os.fsdecode(b"/".join(parts[:-1])) or ".", FOLDER)
        except NotFound:
            return
        try:
            remove(above, hidden)
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

    def _add_entry(self, reader: TarReader, entry: Entry, parts: list[bytes]) -> None:
        if is_whiteout(entry, parts):
            self._check(entry)
            hidden_name(entry, parts)
            return
        self._add(entry, iter(lambda: reader.read(CHUNK), b""), parts)
