"""Checking the content store: is everything there that a name promises, and is it what it was?

Damaged content is moved to `quarantine/`, with a text file beside it that says why, so that it is neither used
nor lost for whoever wants to look; the next pull brings it again. What is only missing is reported.
"""

from __future__ import annotations

import os
import time
from errno import EIO

from sampan.core.digest import parse_digest
from sampan.core.errors import DataLoss, Exhausted, Invalid, SampanError, Unimplemented, from_os_error
from sampan.core.record import Record
from sampan.core.spec.image import INDEXES, MANIFESTS, Descriptor
from sampan.core.strictjson import MAX_BYTES
from sampan.image import index
from sampan.image.gc import children, stored_blobs
from sampan.image.ingest import CHUNK
from sampan.image.registry.documents import parse_document
from sampan.linux.durable import make_dir, move, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.image.store import ContentStore


class Finding(Record):
    """One thing that is not as it should be.

    `what` is a digest or `index.json`; `kind` is damaged (in quarantine now), missing, or unreadable (its
    digest is right and it makes no sense); `images` are the names that need it.
    """

    what: str
    kind: str
    reason: str
    images: list[str] = []


class Report(Record):
    """What `fsck` looked at (blobs and their bytes), and what it found."""

    blobs: int = 0
    bytes: int = 0
    deep: bool = False
    findings: list[Finding] = []

    @property
    def clean(self) -> bool:
        return not self.findings


def fsck(store: ContentStore, deep: bool) -> Report:
    """As `ContentStore.fsck`.

    Raises:
        SampanError: the store cannot be read at all.
    """
    report = Report(deep=deep)
    if not os.path.isdir(store.folder):
        return report
    store.make()
    with store.lock():
        try:
            _check_index(store, report)
            damaged = _check_blobs(store, report)
            _check_images(store, report, damaged)
        except OSError as error:
            raise from_os_error(error, "check the image store") from error
    return report


def _check_index(store: ContentStore, report: Report) -> None:
    """Put a damaged index aside and begin an empty one: its names are lost and said to be, the blobs stay."""
    path = f"{store.folder}/index.json"
    try:
        index.read_index(path)
    except DataLoss as error:
        if isinstance(error.__cause__, OSError):  # the disk's fault and not the file's: leave it alone
            raise
        _quarantine(store, path, "index.json", error.message)
        index.write_index(path, index.EMPTY)
        reason = f"{error.message}; the names are lost, the content is there until the next prune"
        report.findings.append(Finding("index.json", "damaged", reason))


def _check_blobs(store: ContentStore, report: Report) -> dict[str, str]:
    """Quarantine every blob whose bytes are not its digest's; their digests and reasons.

    Without `deep` only documents are read, and what has another size than a manifest says.
    """
    sizes = {d.digest: d for entry in store.entries() for d in _walk(store, entry)}
    damaged: dict[str, str] = {}
    for digest, path in stored_blobs(store):
        size = os.lstat(path).st_size
        report.blobs += 1
        report.bytes += size
        known = sizes.get(digest)
        suspect = known is not None and (known.size != size or known.media_type in MANIFESTS + INDEXES)
        reason = _wrong_content(digest, path) if report.deep or suspect else ""
        if reason:
            _quarantine(store, path, digest.replace(":", "-"), reason)
            damaged[digest] = reason
    return damaged


def _check_images(store: ContentStore, report: Report, damaged: dict[str, str]) -> None:
    """Report, once each, what is not there or makes no sense of what the names lead to."""
    found: dict[str, Finding] = {}
    for entry in store.entries():
        for descriptor in _walk(store, entry):
            kind, reason = _fault(store, descriptor, damaged)
            if kind:
                finding = found.setdefault(descriptor.digest, Finding(descriptor.digest, kind, reason))
                finding.images.append(index.name_of(entry) or entry.digest)
    for digest, reason in damaged.items():
        found.setdefault(digest, Finding(digest, "damaged", reason))
    report.findings += found.values()


def _fault(store: ContentStore, descriptor: Descriptor, damaged: dict[str, str]) -> tuple[str, str]:
    digest = descriptor.digest
    if digest in damaged:
        return "damaged", damaged[digest]
    try:
        if not store.has(digest):
            return "missing", "no such blob"
        size = os.stat(store.path(digest)).st_size
        if size != descriptor.size:
            return "unreadable", f"it has {size} bytes, the image says {descriptor.size}"
        if descriptor.media_type in MANIFESTS + INDEXES:
            data = b"" if descriptor.size > MAX_BYTES else store.read(descriptor)
            parse_document(data, descriptor.media_type, f"the manifest {digest}")
    except (Invalid, Exhausted, Unimplemented) as error:
        return "unreadable", error.message
    return "", ""


def _walk(store: ContentStore, entry: Descriptor) -> list[Descriptor]:
    """What a name leads to and should be here: of an index, the platforms that were fetched (one at least)."""
    seen: dict[str, Descriptor] = {}
    left = [entry]
    while left:
        descriptor = left.pop()
        if descriptor.digest in seen:
            continue
        seen[descriptor.digest] = descriptor
        try:
            below = children(store, descriptor)
        except DataLoss:
            continue
        if descriptor.media_type in INDEXES:
            below = [child for child in below if store.has(child.digest)] or below
        left += below
    return list(seen.values())


def _wrong_content(digest: str, path: str) -> str:
    import hashlib

    try:
        checked = parse_digest(digest)
    except SampanError as error:
        return error.message
    state = hashlib.new(checked.algorithm)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                state.update(chunk)
    except OSError as error:
        if error.errno != EIO:  # it is we who cannot read it
            raise
        return f"it cannot be read: {error.strerror}"
    return "" if state.hexdigest() == checked.hex else f"its bytes have the digest {state.hexdigest()}"


def _quarantine(store: ContentStore, path: str, name: str, reason: str) -> None:
    folder = f"{store.folder}/quarantine"
    make_dir(folder)
    target = f"{folder}/{name}.{time.time_ns()}"
    write_file(f"{target}.reason", f"{reason}\n".encode())
    move(path, target)
