"""The content of root filesystems as values: entries, a tree of them, and layers read into a tree.

Nothing is unpacked: an entry knows where its bytes are, and a tree resolves paths and links among its own
entries, so that no name in an image can reach a file of the host. Building and converting stand on this;
containers get their files from `snapshots`. Follows image-spec layer.md.
"""

from __future__ import annotations

from sampan.core.errors import DataLoss, Exhausted, Invalid
from sampan.core.record import Record
from sampan.image import tar
from sampan.image.tar import MAX_ID, TarReader
from sampan.image.whiteouts import hidden_name, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol, Self

    class Readable(Protocol):
        """What bytes are read from."""

        def read(self, size: int = -1, /) -> bytes: ...

    class Seekable(Readable, Protocol):
        """What entries are read from, at any place."""

        def seek(self, offset: int, whence: int = 0, /) -> int: ...

        def tell(self) -> int: ...

    class Content(Readable, Protocol):
        """What an entry's bytes are read from, and closed after that."""

        def __enter__(self) -> Self: ...

        def __exit__(self, *_: object) -> None: ...


MAX_LINKS = 40
MAX_ENTRIES = 1_000_000
MAX_DEPTH = 128


class Entry(Record):
    """One file, folder or link.

    Attributes:
        path: relative, `/` between names; empty for the root itself. `kind`: file, dir, link or other.
        size: bytes of a file; `target`: of a link. `open`: gives a file's bytes, from the start.
    """

    path: str
    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    open: object = None

    def read(self) -> bytes:
        """A file's bytes, whole."""
        with self.content() as stream:
            return stream.read()

    def content(self) -> Content:
        """A file's bytes as a stream."""
        assert callable(self.open)
        stream: Content = self.open()
        return stream


class Tree:
    """Entries by path, with the folders that they imply."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._children: dict[str, set[str]] = {"": set()}

    def add(self, entry: Entry) -> None:
        """Put an entry in place of what is at its path; a folder keeps what is in it."""
        if not entry.path:
            return
        if len(self.entries) >= MAX_ENTRIES:
            raise Exhausted(f"the image has more than {MAX_ENTRIES} files")
        if entry.kind != "dir" or not self.is_dir(entry.path):
            self.remove(entry.path)
        parent, name = split(entry.path)
        if parent and not self.is_dir(parent):
            self.add(Entry(parent, "dir", mtime=entry.mtime))
        self._children[parent].add(name)
        self.entries[entry.path] = entry
        if entry.kind == "dir":
            self._children.setdefault(entry.path, set())

    def remove(self, path: str) -> None:
        """Take away an entry and all below it."""
        for name in list(self._children.get(path, ())):
            self.remove(join(path, name))
        self._children.pop(path, None)
        if self.entries.pop(path, None) is not None:
            parent, name = split(path)
            self._children[parent].discard(name)

    def clear(self, path: str) -> None:
        """Take away all below a folder."""
        for name in list(self._children.get(path, ())):
            self.remove(join(path, name))

    def is_dir(self, path: str) -> bool:
        return path in self._children

    def lookup(self, path: str) -> Entry | None:
        """The entry at a path, links not followed; the root is a folder."""
        return self.entries.get(path) or (Entry("", "dir") if not path else None)

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted."""
        return sorted(self._children.get(path, ()))

    def walk(self, path: str) -> Iterator[Entry]:
        """The entries below a folder, parents first."""
        for name in self.names(path):
            child = join(path, name)
            yield self.entries[child]
            yield from self.walk(child)

    def resolve(self, path: str) -> str:
        """The path behind all links, as if the tree were the root; what is not there stays as it is.

        Raises:
            Invalid: more than 40 links.
        """
        done: list[str] = []
        left = [p for p in path.split("/") if p][::-1]
        links = 0
        while left:
            name = left.pop()
            if name == ".":
                continue
            if name == "..":
                done = done[:-1]
                continue
            entry = self.entries.get("/".join([*done, name]))
            if entry is None or entry.kind != "link":
                done.append(name)
                continue
            links += 1
            if links > MAX_LINKS:
                raise Invalid(f"{path!r} goes through more than {MAX_LINKS} links")
            if entry.target.startswith("/"):
                done = []
            left += [p for p in entry.target.split("/") if p][::-1]
        return "/".join(done)


def split(path: str) -> tuple[str, str]:
    """The parent and the name."""
    parent, _, name = path.rpartition("/")
    return parent, name


def join(parent: str, name: str) -> str:
    """`parent/name`; either may be empty."""
    return f"{parent}/{name}" if parent and name else parent or name


def entry_path(name: str) -> str:
    """The relative path that a name in a tar means: `./a//b/` is `a/b`.

    Raises:
        Invalid: `..` in it, or longer than any system takes.
    """
    parts = [p for p in name.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise Invalid(f"the archive has the entry {name[:200]!r}, which leads out of it")
    if len(parts) > MAX_DEPTH or any(len(p.encode(errors="surrogateescape")) > 255 for p in parts):
        raise Invalid(f"the archive has the entry {name[:80]!r}, which is too long or too deep")
    return "/".join(parts)


def read_tar(stream: Seekable, tree: Tree, *, whiteouts: bool = True) -> None:
    """Add the entries of a seekable, uncompressed tar to a tree; its files stay in `stream`.

    Args:
        whiteouts: the tar is an image layer: `.wh.` entries remove what lower layers have.

    Raises:
        Invalid: not a tar, or an entry that leads out of it.
    """
    added: set[str] = set()
    hides: list[tuple[str, bool]] = []
    for header in TarReader(_Seekable(stream)):
        path = entry_path(header.name.decode(errors="surrogateescape"))
        parts = path.encode(errors="surrogateescape").split(b"/")
        if whiteouts and is_whiteout(header, parts):
            hidden = hidden_name(header, parts).decode(errors="surrogateescape")
            hides.append((join(split(path)[0], hidden), not hidden))
            continue
        added.add(path)
        tree.add(_entry(header, path, stream, tree))
    kept = _with_parents(added) if hides else set()
    for path, opaque in hides:
        candidates = [*([] if opaque else [path]), *(e.path for e in tree.walk(path))]
        for candidate in reversed(candidates):
            if candidate not in kept:
                tree.remove(candidate)


def _with_parents(paths: set[str]) -> set[str]:
    out: set[str] = set()
    for path in paths:
        parts = path.split("/")
        out.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
    return out


def _entry(header: tar.Entry, path: str, stream: Seekable, tree: Tree) -> Entry:
    """The entry of a tar header; a hard link is a copy of what it points to."""
    if not (0 <= header.uid <= MAX_ID and 0 <= header.gid <= MAX_ID):
        raise Invalid(
            f"the archive's {path[:80]!r} belongs to the user {header.uid}:{header.gid}, who cannot be"
        )
    common = (header.mode, header.uid, header.gid, header.mtime // 10**9)
    link = header.link.decode(errors="surrogateescape")
    if header.kind == tar.DIRECTORY:
        return Entry(path, "dir", *common)
    if header.kind == tar.SYMLINK:
        return Entry(path, "link", *common, 0, link)
    if header.kind == tar.LINK:
        target = tree.lookup(entry_path(link))
        if target is None or target.kind == "dir":
            raise Invalid(f"the archive's hard link {path[:80]!r} points to nothing in it")
        return target.replace(path=path)
    if header.kind != tar.FILE:
        return Entry(path, "other", *common)
    offset, size = stream.tell(), header.size
    return Entry(path, "file", *common, size, "", lambda: Part(stream, offset, size))


class _Seekable:
    """A file as the tar reader wants its stream: files are jumped over, not read."""

    def __init__(self, stream: Seekable) -> None:
        self._stream = stream
        self._end = stream.seek(0, 2)
        stream.seek(0)

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def skip(self, size: int) -> int:
        at = self._stream.tell()
        return self._stream.seek(min(self._end, at + size)) - at


class Part:
    """Some bytes in the middle of a seekable stream that others read too."""

    def __init__(self, stream: Seekable, offset: int, size: int) -> None:
        self._stream = stream
        self._at = offset
        self._end = offset + size

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, or all that are left.

        Raises:
            DataLoss: the archive ends before the file does.
        """
        left = self._end - self._at
        wanted = left if size < 0 else min(size, left)
        self._stream.seek(self._at)
        data = self._stream.read(wanted)
        if len(data) != wanted:
            raise DataLoss("the archive ends in the middle of a file")
        self._at += wanted
        return data
