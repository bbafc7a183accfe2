"""What COPY and ADD take from: the folder of the build, or the files of another image; one face for both.

A context's files are opened below its folder and nowhere else (a link in it cannot lead out), a link inside a
copied folder stays a link, and what `.dockerignore` leaves out is not there.
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISLNK, S_ISREG

from sampan.core.errors import Invalid, NotFound, Precondition, from_os_error
from sampan.image.build.ignore import Ignore, clean_parts, match_name
from sampan.image.entries import Entry, Tree, join
from sampan.linux.paths import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Protocol

    class Source(Protocol):
        """Where COPY finds files; paths are relative, `/` between names, "" is the whole."""

        def names(self, path: str) -> list[str]: ...

        def lookup(self, path: str) -> Entry | None: ...

        def resolve(self, path: str) -> str: ...


MAX_TEXT = 1 << 20
WAY = "way"  # a left-out folder that may hold something which is not
_META = frozenset("*?[\\")


class Context:
    """The folder of a build; a context manager that closes it."""

    def __init__(self, folder: str) -> None:
        """Open the folder.

        Raises:
            NotFound, Invalid, Denied: there is no such folder, or it cannot be read.
        """
        self.folder = folder
        try:
            self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError:
            raise Invalid(f"the build context {folder!r} is not a folder") from None
        except OSError as error:
            raise from_os_error(error, f"open the build context {folder!r}") from error
        self.ignore = Ignore()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read_text(self, path: str) -> str:
        """A small text file of the context, also one that is left out.

        Raises:
            NotFound: there is none. Invalid: not UTF-8, or more than 1 MiB.
        """
        with self._open(path) as file:
            data = file.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            raise Invalid(f"{path} has more than {MAX_TEXT} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Invalid(f"{path} is not UTF-8 text") from None

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted, without those that are left out."""
        fd = open_in_root(self._fd, path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = os.listdir(fd)
        finally:
            os.close(fd)
        return sorted(n for n in found if self._is_part(join(path, n)))

    def lookup(self, path: str) -> Entry | None:
        """The file, folder or link at a path (a link itself, not what it leads to)."""
        if path and not self._is_part(path):
            return None
        try:
            fd = open_in_root(self._fd, path or ".", os.O_PATH | os.O_NOFOLLOW)
        except (NotFound, Invalid):  # also: a file stands where a folder is needed
            return None
        try:
            status = os.fstat(fd)
            target = os.readlink("", dir_fd=fd) if S_ISLNK(status.st_mode) else ""
        finally:
            os.close(fd)
        kind = "other"
        for test, name in ((S_ISREG, "file"), (S_ISDIR, "dir"), (S_ISLNK, "link")):
            kind = name if test(status.st_mode) else kind
        if kind == "dir" and self.ignore.leaves_out(path):
            kind = WAY
        mode, mtime = status.st_mode & 0o7777, int(status.st_mtime)
        return Entry(
            path, kind, mode, 0, 0, mtime, status.st_size, target, lambda: self._open(path, status.st_size)
        )

    def resolve(self, path: str) -> str:
        """The path behind all links, none of which leads out of the folder."""
        tree = Tree()
        for _ in range(64):
            resolved = tree.resolve(path)
            parts = resolved.split("/")
            for n in range(1, len(parts) + 1):
                part = "/".join(parts[:n])
                entry = self.lookup(part) if part not in tree.entries else None
                if entry is not None and entry.kind == "link":
                    tree.add(entry)
                    break
            else:
                return resolved
        raise Invalid(f"{path!r} goes through too many links")

    def _is_part(self, path: str) -> bool:
        if not self.ignore.leaves_out(path):
            return True
        return self.ignore.has_exceptions and self._is_dir(path)

    def _is_dir(self, path: str) -> bool:
        try:
            os.close(open_in_root(self._fd, path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW))
        except (NotFound, Invalid):
            return False
        return True

    def _open(self, path: str, size: int | None = None) -> BinaryIO:
        fd = open_in_root(self._fd, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        file = os.fdopen(fd, "rb")
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode) or (size is not None and status.st_size != size):
            file.close()
            raise Precondition(f"{path} changed during the build, or is not a file", fix="try again")
        return file


def find(source: Source, pattern: str) -> list[Entry]:
    """The entries that a COPY source names, by name or by pattern; links at the end are followed.

    Raises:
        NotFound: nothing has this name or matches.
    """
    found = [""]
    for part in clean_parts(pattern):
        if _META.isdisjoint(part):
            found = [join(path, part) for path in found if _target(source, join(path, part))]
        else:
            found = [
                join(path, name)
                for path in found
                if _is_dir(source, path)
                for name in source.names(source.resolve(path))
                if match_name(part, name)
            ]
    entries = [entry.replace(path=path) for path in found if (entry := _target(source, path)) is not None]
    if not entries:
        raise NotFound(f"{pattern!r} is not there", fix="check the name, and .dockerignore")
    return entries


def _target(source: Source, path: str) -> Entry | None:
    """What a path leads to; nothing where its links go in circles."""
    try:
        return source.lookup(source.resolve(path))
    except Invalid:
        return None


def below(source: Source, folder: str) -> list[Entry]:
    """All entries below a folder, with paths relative to it; left-out folders only where they hold something."""
    real = source.resolve(folder)
    out: list[Entry] = []
    stack = [""]
    while stack:
        path = stack.pop()
        for name in source.names(join(real, path)):
            entry = source.lookup(join(real, join(path, name)))
            if entry is None:
                continue
            if entry.kind != WAY:
                out.append(entry.replace(path=join(path, name)))
            if entry.kind in ("dir", WAY):
                stack.append(join(path, name))
    return out


def _is_dir(source: Source, path: str) -> bool:
    entry = _target(source, path)
    return entry is not None and entry.kind in ("dir", WAY)
