"""Leases: what keeps blobs that no name reaches yet from being collected.

A lease is a file in `leases/` with one digest a line, locked by its holder as long as that lives. A lease
whose holder is dead still counts for `GRACE` seconds, so that a killed pull can go on where it was; after that
it binds nothing. A lease need not survive a power cut (its holder does not), so it is not synced.
"""

from __future__ import annotations

import fcntl
import os
import time

from sampan.core.errors import from_os_error
from sampan.image.ingest import try_lock, try_remove
from sampan.linux.locks import FileLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

GRACE = 24 * 3600.0


class Lease:
    """Protects the digests that are added to it, until it is left or its process has been dead for a day."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = f"{folder}/leases/{os.getpid()}-{os.urandom(8).hex()}"
        self._fd = -1

    def __enter__(self) -> Lease:
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            raise from_os_error(error, "begin a lease in the image store") from error
        return self

    def __exit__(self, *_: object) -> None:
        try_remove(self._path)
        os.close(self._fd)
        self._fd = -1

    def add(self, digests: Iterable[str]) -> None:
        """Protect these from now on, whether the blobs are there already or still to come."""
        lines = "".join(f"{digest}\n" for digest in digests).encode()
        # A collection that runs now is over before we have the lock: `has` tells the truth afterwards.
        with FileLock(f"{self._folder}/lock"):
            try:
                os.write(self._fd, lines)
            except OSError as error:
                raise from_os_error(error, "extend a lease in the image store") from error


def leased_digests(folder: str, grace: float = GRACE) -> set[str]:
    """All digests that a lease protects now; leases that bind nothing any more are removed."""
    digests: set[str] = set()
    for name in list_folder(folder):
        path = f"{folder}/{name}"
        if is_stale(path, grace):
            try_remove(path)
            continue
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                digests.update(file.read().split())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise from_os_error(error, "read a lease of the image store") from error
    return digests


def is_stale(path: str, grace: float) -> bool:
    """Whether nobody holds the file's lock and nobody wrote it for `grace` seconds (either way: clocks jump)."""
    fd = try_lock(path)
    if fd is None:
        return False
    try:
        return abs(time.time() - os.fstat(fd).st_mtime) >= grace
    finally:
        os.close(fd)


def list_folder(path: str) -> list[str]:
    """The sorted names in a folder that may not be there.

    Raises:
        SampanError: it cannot be read.
    """
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise from_os_error(error, f"list {path!r}") from error
