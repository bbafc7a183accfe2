"""What `sampan cp` does in a container's world: from one file system to another, or between one and a tar stream.

A file system is a descriptor of the folder that stands for its root: the host's `/`, or a container's. Paths are
resolved inside it, so that no link of a container ever leads to a file of the host; what is written goes through
the image room's extractor. Docker's rules say what a path means.
"""

from __future__ import annotations

import os
import sys
import tarfile
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISLNK, S_ISREG

from sampan.core.errors import DataLoss, Denied, Exhausted, Invalid, NotFound, Precondition
from sampan.core.record import Record
from sampan.image import tar
from sampan.image.extract import FOLDER, Extractor
from sampan.image.layerstream import Limits
from sampan.linux.paths import open_in_root, open_regular_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 256 << 10
MAX_DEPTH = 255
MAX_LINKS = 40
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

TarFile = tarfile.TarFile


class Place(Record):
    """A path in the file system below `root`, as it was typed: slashes at its end have a meaning."""

    root: int
    path: str

    @property
    def clean(self) -> str:
        """The absolute path without `.`, `..` and slashes that say nothing."""
        return os.path.normpath("/" + self.path.lstrip("/"))

    @property
    def means_contents(self) -> bool:
        """Whether what is in the folder is meant, and not the folder."""
        return self.path.endswith("/.") or self.path == "." or self.clean == "/"

    @property
    def means_folder(self) -> bool:
        return self.path.endswith("/") or self.means_contents


class Copy:
    """One run of `cp`.

    Args:
        owner: user and group of everything that is copied; None: as they are.
        follow: a link at the end of the source's path is followed.
        warn: is told what is left out.

    Attributes:
        bytes: how much was copied.
    """

    def __init__(
        self, owner: tuple[int, int] | None, *, follow: bool = False, warn: Callable[[str], None]
    ) -> None:
        self.bytes = 0
        self._owner = owner
        self._follow = follow
        self._warn = warn

    def files(self, source: Place, target: Place) -> None:
        """Copies a file, a link or a folder.

        Raises:
            NotFound: the source, or the folder to copy into, is not there.
            Precondition: a folder would take the place of a file, or a file that of a folder.
            Denied: a device node, or no permission. SampanError: it cannot be read or written.
        """
        status = self._look(source)
        folder, name = _destination(target, source, is_folder=S_ISDIR(status.st_mode))
        try:
            extractor = Extractor(folder, Limits(), "the source", keeps_folders=True)
            for entry, fd in self._walk(source, status, name):
                extractor.add(entry, _pieces(fd, entry.size))
                self.bytes += entry.size
            extractor.finish()
        finally:
            os.close(folder)

    def to_stream(self, source: Place) -> None:
        """Writes a file, a link or a folder to standard output, as a tar.

        Raises:
            NotFound: the source is not there. SampanError: it cannot be read.
        """
        status = self._look(source)
        name = os.fsencode(os.path.basename(source.clean)) if not source.means_contents else b"."
        try:
            with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as out:
                for entry, fd in self._walk(source, status, name):
                    _write(out, entry, fd)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # who reads has what they wanted
            return

    def from_stream(self, pieces: Iterator[bytes], target: Place) -> None:
        """Unpacks a tar into a folder, and lets no entry of it leave that folder.

        Args:
            pieces: the tar, not compressed.

        Raises:
            NotFound: the folder is not there. Invalid, DataLoss: it is no whole tar, or an entry of it is not
            acceptable. Denied: a device node.
        """
        folder = open_in_root(target.root, target.clean, FOLDER)
        try:
            reader = tar.TarReader(Stream(pieces))
            extractor = Extractor(folder, Limits(), "the archive", keeps_folders=True)
            for entry in reader:
                extractor.add(entry, iter(lambda: reader.read(CHUNK), b""))
                self.bytes += entry.size
            extractor.finish()
            for warning in extractor.warnings:
                self._warn(warning)
        finally:
            os.close(folder)
        for _ in pieces:  # who writes it shall not fail for what comes after its end
            pass

    def _look(self, source: Place) -> os.stat_result:
        """What the source is; a link at its end only where it is not followed."""
        follow = self._follow or source.means_folder
        fd = open_in_root(source.root, source.clean, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        if source.means_folder and not S_ISDIR(status.st_mode):
            raise Precondition(f"{source.path} is not a folder", fix="leave the slash at its end out")
        return status

    def _walk(self, source: Place, status: os.stat_result, name: bytes) -> Iterator[tuple[tar.Entry, int]]:
        """The source and all below it as entries with descriptors of files, which are closed here.

        Args:
            name: what the source is called in the entries' names.
        """
        mode = status.st_mode
        if S_ISDIR(mode):
            folder = open_in_root(source.root, source.clean, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield self._entry(name, os.fstat(folder)), -1
                yield from self._below(folder, name, 1)
            finally:
                os.close(folder)
        elif S_ISLNK(mode):
            link = open_in_root(source.root, source.clean, os.O_PATH | os.O_NOFOLLOW)
            try:
                yield self._entry(name, os.fstat(link), os.readlink(b"", dir_fd=link)), -1
            finally:
                os.close(link)
        elif S_ISREG(mode):
            file = open_regular_in_root(source.root, source.clean)
            try:
                yield self._entry(name, os.fstat(file)), file
            finally:
                os.close(file)
        else:
            raise Denied(f"{source.path} is no file, folder or link, and is not copied")

    def _below(self, folder: int, path: bytes, depth: int) -> Iterator[tuple[tar.Entry, int]]:
        if depth > MAX_DEPTH:
            raise Exhausted(f"the source has folders nested deeper than {MAX_DEPTH}")
        for text in sorted(os.listdir(folder)):
            name = os.fsencode(text)
            inner = path + b"/" + name if path else name
            try:
                yield from self._child(folder, name, inner, depth)
            except FileNotFoundError:  # removed meanwhile
                continue

    def _child(self, folder: int, name: bytes, path: bytes, depth: int) -> Iterator[tuple[tar.Entry, int]]:
        status = os.lstat(name, dir_fd=folder)
        mode = status.st_mode
        if S_ISLNK(mode):
            yield self._entry(path, status, os.readlink(name, dir_fd=folder)), -1
        elif S_ISDIR(mode) or S_ISREG(mode):
            fd = os.open(name, _LIST if S_ISDIR(mode) else _FILE, dir_fd=folder)
            try:
                status = os.fstat(fd)
                if S_ISDIR(status.st_mode):
                    yield self._entry(path, status), -1
                    yield from self._below(fd, path, depth + 1)
                elif S_ISREG(status.st_mode):
                    yield self._entry(path, status), fd
            finally:
                os.close(fd)
        elif S_ISCHR(mode) or S_ISBLK(mode):
            raise Denied(f"the source has the device node {path[:100]!r}", fix="leave it out")
        else:
            self._warn(f"{path[:100].decode(errors='replace')} was left out: it is no file, folder or link")

    def _entry(self, name: bytes, status: os.stat_result, link: bytes = b"") -> tar.Entry:
        entry = tar.Entry()
        mode = status.st_mode
        entry.name, entry.link, entry.xattrs = name, link, []
        entry.kind = tar.SYMLINK if S_ISLNK(mode) else tar.DIRECTORY if S_ISDIR(mode) else tar.FILE
        entry.mode = mode & 0o7777
        entry.uid, entry.gid = self._owner or (status.st_uid, status.st_gid)
        entry.mtime = status.st_mtime_ns
        entry.size = status.st_size if entry.kind == tar.FILE else 0
        return entry


def _destination(target: Place, source: Place, *, is_folder: bool) -> tuple[int, bytes]:
    """The folder that the source goes into, and the name that it gets there; no name for the contents alone."""
    try:
        folder = open_in_root(target.root, target.clean, FOLDER)
    except NotFound:
        pass
    else:
        return folder, b"" if is_folder and source.means_contents else os.fsencode(
            os.path.basename(source.clean)
        )
    if target.means_folder and not is_folder:
        raise NotFound(f"{target.path}: there is no such folder to copy into", fix="make it first")
    folder, name, status = _end_of_links(target)
    if status is not None and (is_folder or not S_ISREG(status.st_mode)):
        os.close(folder)
        if is_folder:
            raise Precondition(f"{target.path} is no folder, and one cannot be copied to it")
        raise Denied(f"{target.path} is no regular file, and nothing is copied to it")
    return folder, name


def _end_of_links(place: Place) -> tuple[int, bytes, os.stat_result | None]:
    """Folder, name and state of what a path leads to; without a state where nothing is there yet."""
    path = place.clean
    for _ in range(MAX_LINKS):
        parent, _, name = path.rpartition("/")
        folder = open_in_root(place.root, parent or "/", FOLDER)
        try:
            status = os.lstat(name, dir_fd=folder)
            if not S_ISLNK(status.st_mode):
                return folder, os.fsencode(name), status
            link = os.readlink(name, dir_fd=folder)
        except FileNotFoundError:
            return folder, os.fsencode(name), None
        os.close(folder)
        path = link if link.startswith("/") else f"{parent}/{link}"
    raise Invalid(f"{place.path} goes through more than {MAX_LINKS} links")


def _write(out: TarFile, entry: tar.Entry, fd: int) -> None:
    header = tarfile.TarInfo(os.fsdecode(entry.name))
    header.type = entry.kind
    header.linkname = os.fsdecode(entry.link)
    header.mode, header.uid, header.gid, header.size = entry.mode, entry.uid, entry.gid, entry.size
    header.mtime = entry.mtime // 10**9
    if fd < 0:
        out.addfile(header)
        return
    with os.fdopen(fd, "rb", closefd=False) as content:
        try:
            out.addfile(header, content)
        except OSError as error:
            if error.errno is not None:
                raise
            raise DataLoss(f"{header.name} changed while it was read", fix="try again") from error


def _pieces(fd: int, size: int) -> Iterator[bytes]:
    """Up to `size` bytes of a file: one that grows is not followed."""
    while size > 0 and (piece := os.read(fd, min(size, CHUNK))):
        size -= len(piece)
        yield piece


class Stream:
    """Pieces of bytes as the tar reader wants them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ready = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        parts = [self._ready]
        there = len(self._ready)
        while there < size and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            there += len(piece)
        data = b"".join(parts)
        self._ready = data[size:]
        return data[:size]

    def skip(self, size: int) -> int:
        """Passes over up to `size` bytes; how many there were."""
        left = size
        while left and (data := self.read(min(left, CHUNK))):
            left -= len(data)
        return size - left
