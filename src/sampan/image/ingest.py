"""One blob on its way into the content store: resumable, hashed while it is written, at most as long as said.

A partial blob is one file in `ingest/`, named by the digest that it shall have, and the `flock` on that file
is the right to write it: a second process that wants the same blob waits, and finds it whole or goes on where
the first one died. Nothing is visible under `blobs/` before all of it is checked and on the disk.
"""

from __future__ import annotations

import fcntl
import os

from sampan.core.digest import Digest, parse_digest
from sampan.core.errors import DataLoss, Invalid, Precondition, SampanError, from_os_error
from sampan.linux.durable import move

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

    from sampan.core.spec.image import Descriptor

CHUNK = 1 << 20
BLOB_MODE = 0o444


class Ingest:
    """The right to write one blob; a context manager that keeps the partial file when left without `commit`.

    `complete` is true when the store has the blob already: there is nothing to write then, and `commit` does
    nothing. Otherwise the caller sends the bytes from `offset` on.
    """

    def __init__(self, folder: str, descriptor: Descriptor) -> None:
        """Take the right, waiting for another holder, and hash what an earlier holder left.

        Raises:
            Invalid: the descriptor's digest or size is not one.
            Exhausted, Denied: the disk does not let us.
        """
        self.digest = parse_digest(descriptor.digest)
        if descriptor.size < 0:
            raise Invalid(f"the blob {self.digest.short} has the size {descriptor.size}")
        self.size = descriptor.size
        self.offset = 0
        self._part = f"{folder}/ingest/{self.digest.algorithm}-{self.digest.hex}"
        self._blob = f"{folder}/blobs/{self.digest.algorithm}/{self.digest.hex}"
        self._fd = -1
        try:
            self._fd = _lock_part(self._part)
            self.complete = os.path.exists(self._blob)
            if self.complete:
                try_remove(self._part)
                self._expect_size(os.stat(self._blob).st_size)
            else:
                self._hash = self._resume()
        except OSError as error:
            self.close()
            raise from_os_error(error, f"begin to store the blob {self.digest.short}") from error

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            DataLoss: more bytes than the descriptor says, or the disk failed; what was written is dropped.
            Exhausted: no space; what was written is dropped.
        """
        if self.complete or self._fd < 0:
            raise Precondition(f"the blob {self.digest.short} is complete or closed")
        if self.offset + len(data) > self.size:
            self.discard()
            raise DataLoss(f"the blob {self.digest.short} is longer than its {self.size} bytes")
        try:
            _write_all(self._fd, data)
        except OSError as error:
            self.discard()
            raise from_os_error(error, f"store the blob {self.digest.short}") from error
        self._hash.update(data)
        self.offset += len(data)

    def restart(self) -> None:
        """Begin again at offset 0, for a source that cannot send from the middle."""
        if not self.complete:
            os.ftruncate(self._fd, 0)
            self._hash = self._resume()

    def commit(self) -> None:
        """Check the blob, put it on the disk, then make it visible: in this order.

        Raises:
            DataLoss: short, another digest, or a failed fsync (never tried again); what was written is dropped.
            Precondition: closed already.
        """
        if self.complete:
            return
        if self._fd < 0:
            raise Precondition(f"the blob {self.digest.short} is closed")
        if self.offset != self.size:
            raise DataLoss(f"the blob {self.digest.short} ends after {self.offset} of {self.size} bytes")
        if self._hash.hexdigest() != self.digest.hex:
            self.discard()
            raise DataLoss(f"the bytes received for {self.digest} do not have this digest")
        try:
            _publish(self._fd, self._part, self._blob)
        except SampanError:
            self.discard()
            raise
        self.complete = True
        self.close()

    def discard(self) -> None:
        """Give up: remove the partial file."""
        if self._fd >= 0:
            try_remove(self._part)
            self.close()

    def close(self) -> None:
        """Give the right back; the partial file stays for the next holder."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _expect_size(self, found: int) -> None:
        if found != self.size:
            self.close()
            raise DataLoss(
                f"the blob {self.digest} has {found} bytes, not {self.size}", fix="run: sampan system fsck"
            )

    def _resume(self) -> _Hash:
        import hashlib

        state = hashlib.new(self.digest.algorithm)
        if os.fstat(self._fd).st_size > self.size:
            os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.offset = 0
        while chunk := os.read(self._fd, CHUNK):
            state.update(chunk)
            self.offset += len(chunk)
        return state


class NewBlob:
    """A blob whose digest is not known before its end; a context manager that leaves nothing without `commit`."""

    def __init__(self, folder: str) -> None:
        import hashlib

        self.size = 0
        self._folder = folder
        self._hash = hashlib.sha256()
        self._part = f"{folder}/ingest/new-{os.urandom(8).hex()}"
        try:
            self._fd = _lock_part(self._part)
        except OSError as error:
            raise from_os_error(error, "begin to store a blob") from error

    def __enter__(self) -> NewBlob:
        return self

    def __exit__(self, *_: object) -> None:
        try_remove(self._part)
        os.close(self._fd)

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            Exhausted, DataLoss: no space, or the disk failed.
        """
        self._hash.update(data)
        self.size += len(data)
        try:
            _write_all(self._fd, data)
        except OSError as error:
            raise from_os_error(error, "store a blob") from error

    def commit(self) -> Digest:
        """Put the blob on the disk, then make it visible; its SHA-256."""
        digest = Digest(f"sha256:{self._hash.hexdigest()}")
        blob = f"{self._folder}/blobs/sha256/{digest.hex}"
        if not os.path.exists(blob):
            _publish(self._fd, self._part, blob)
        return digest


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _publish(fd: int, part: str, blob: str) -> None:
    """Move a written file to its final name: synced before the name exists, the name synced after."""
    try:
        os.fchmod(fd, BLOB_MODE)
        os.fsync(fd)
    except OSError as error:
        raise from_os_error(error, "bring a blob to the disk") from error
    move(part, blob)


def remove(path: str) -> None:
    """Remove a file that may be gone already.

    Raises:
        SampanError: it is there and stays.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise from_os_error(error, "remove a file of the image store") from error


def try_remove(path: str) -> None:
    """Remove a file of ours that means nothing any more; what stays is litter, which a collection removes."""
    try:
        os.unlink(path)
    except OSError:
        return


def _lock_part(path: str) -> int:
    """The open partial file, locked; waits. What the waiter locked may have been renamed or removed by then."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_at(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def try_lock(path: str) -> int | None:
    """The open file or folder, locked, or None when it is gone or somebody holds it.

    Raises:
        SampanError: it cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, "look at a file of the image store") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(fd, path):
            return fd
    except OSError:  # EWOULDBLOCK; and where we cannot tell, somebody holds it
        pass
    os.close(fd)
    return None


def is_at(fd: int, path: str) -> bool:
    """Whether the open file is still the one that `path` names."""
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)
