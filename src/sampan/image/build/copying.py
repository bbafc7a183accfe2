"""COPY and ADD: from sources to the entries of a layer, by Docker's rules for the destination.

A destination that ends with `/` or is a folder takes files by their names; a folder's contents are copied, not the
folder. ADD unpacks local tar archives. Addresses are refused: what is fetched is not in the context and not
reproducible.
"""

from __future__ import annotations

from sampan.core.errors import Invalid, Unimplemented
from sampan.image.build.context import WAY, below, find
from sampan.image.compression import compression_of, decompressed
from sampan.image.entries import Entry, Tree, join, read_tar
from sampan.image.layerwriter import spooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import BytesIO

    from sampan.image.build.context import Source
    from sampan.image.build.dockerfile import HereDocument

_HEAD = 262  # as far as the magic of a tar goes


class Copy:
    """One COPY or ADD on its way into a layer.

    Args:
        tree: the root filesystem so far; links in the destination are followed in it.
        working_dir: what a relative destination is relative to.
        chmod, chown: the flags' values, expanded; empty for the source's own.
        now: seconds since 1970 for what has no time of its own.
    """

    def __init__(
        self, tree: Tree, working_dir: str, destination: str, chmod: str = "", chown: str = "", now: int = 0
    ) -> None:
        self.tree = tree
        self.now = now
        self.mode = _parse_mode(chmod)
        self.owner = _parse_owner(chown)
        self.wants_folder = destination.endswith(("/", "/.")) or destination in (".", "./", "")
        base = destination if destination.startswith("/") else f"{working_dir}/{destination}"
        self.path = tree.resolve(base)
        self.layer: dict[str, Entry] = {}

    def add(self, source: Source, words: list[str], documents: list[HereDocument], *, unpack: bool) -> None:
        """Take all sources.

        Args:
            words: names and patterns; `<<NAME` stands for a document.
            documents: bodies already expanded, in the order of their words.
            unpack: ADD's habit with archives.

        Raises:
            NotFound: a source is not there. Invalid: several sources need a folder.
        """
        left = list(documents)
        found: list[Entry] = []
        for word in words:
            if word.startswith("<<"):
                document = left.pop(0)
                found.append(_text_entry(document.name, document.body, self.now))
                continue
            if unpack:
                _refuse_address(word)
            found += find(source, word)
        single_file = len(found) == 1 and found[0].kind not in ("dir", WAY)
        if not single_file and len(words) > 1 and not self.wants_folder and not self.tree.is_dir(self.path):
            raise Invalid("several sources need a folder to go to", fix="end the destination with /")
        as_folder = self.wants_folder or not single_file or self.tree.is_dir(self.path)
        for entry in found:
            self._take(source, entry, as_folder, unpack)

    def _take(self, source: Source, entry: Entry, as_folder: bool, unpack: bool) -> None:
        if entry.kind in ("dir", WAY):
            self.folder(self.path)
            for inner in below(source, entry.path):
                self._place(inner, join(self.path, inner.path))
            return
        archive = _archive(entry) if unpack and entry.kind == "file" else None
        if archive is not None:
            self.folder(self.path)
            for inner in archive.walk(""):
                self._place(inner, join(self.path, inner.path), keep_owner=True)
            return
        name = entry.path.rpartition("/")[2]
        self._place(entry, join(self.path, name) if as_folder else self.path)

    def _place(self, entry: Entry, path: str, *, keep_owner: bool = False) -> None:
        if not path:
            raise Invalid("a file cannot take the place of the root", fix="end the destination with /")
        parent, _, name = path.rpartition("/")
        path = join(self.tree.resolve(parent), name)
        self.folder(path.rpartition("/")[0])
        changed = entry.replace(path=path)
        if self.mode is not None and entry.kind != "link" and not keep_owner:
            changed.mode = self.mode
        if self.owner is not None:
            changed.uid, changed.gid = self.owner
        existing = self.tree.lookup(path)
        if entry.kind != "dir" and existing is not None and existing.kind == "dir":
            raise Invalid(f"cannot copy the file {name!r} over the folder /{path}")
        self.layer[path] = changed
        self.tree.add(changed)

    def folder(self, path: str) -> None:
        """Make a folder and those above it, where they are not there."""
        if not path or self.tree.is_dir(path):
            return
        if self.tree.lookup(path) is not None:
            raise Invalid(f"/{path} is a file, and a folder is needed there")
        self.folder(path.rpartition("/")[0])
        uid, gid = self.owner or (0, 0)
        entry = Entry(path, "dir", 0o755, uid, gid, self.now)
        self.layer[path] = entry
        self.tree.add(entry)


def _parse_mode(text: str) -> int | None:
    if not text:
        return None
    if not set(text) <= set("01234567") or len(text) > 5 or int(text, 8) > 0o7777:
        raise Invalid(f"--chmod={text[:20]} is not an octal mode", fix="write it like --chmod=755")
    return int(text, 8)


def _parse_owner(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    user, colon, group = text.partition(":")
    ids: list[int] = []
    for part in (user, group if colon else user):
        number = "0" if part == "root" else part
        if not (number.isascii() and number.isdigit()) or int(number) > 2**31 - 1:
            raise Invalid(f"--chown={text[:40]} has no numeric ids", fix="write it like --chown=1000:1000")
        ids.append(int(number))
    return ids[0], ids[1]


def _refuse_address(word: str) -> None:
    lower = word.lower()
    if lower.startswith(("http://", "https://", "git://", "ssh://", "git@")) or ".git#" in lower:
        raise Unimplemented(
            f"ADD does not fetch {word[:80]}: it would not be the same bytes every time",
            fix="download it into the build context, check its digest, and COPY it",
        )


def _text_entry(name: str, body: str, now: int) -> Entry:
    data = body.encode()

    def content() -> BytesIO:
        from io import BytesIO

        return BytesIO(data)

    return Entry(name, "file", 0o644, 0, 0, now, len(data), "", content)


def _archive(entry: Entry) -> Tree | None:
    """The entries of a tar, compressed or not; None for any other file."""
    with entry.content() as stream:
        head = stream.read(_HEAD)
    if not compression_of(head) and not _is_tar(head):
        return None
    with entry.content() as stream:
        spool, _ = spooled(decompressed(stream, entry.path))
    if not _is_tar(spool.read(_HEAD)):
        return None
    spool.seek(0)
    tree = Tree()
    read_tar(spool, tree, whiteouts=False)
    return tree


def _is_tar(head: bytes) -> bool:
    return head[_HEAD - 5 : _HEAD] == b"ustar"
