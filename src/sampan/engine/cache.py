"""Compiled code on disk, by content, for every image format and every door.

The engine does not check compiled code: a flipped bit is a crash, a forged file is native code of a stranger's.
So a file counts only when it is in a folder that only its owner can write, carries the digest of its own content
and says for which module, engine, processor and configuration it is. The digest is verified once for each state
of the inode, which is remembered in the run folder; after that a start reads no byte of it. Whatever is wrong
with a file or a folder, the answer is "not there": the code is compiled again. Layout of a file: the engine's
ELF, then the trailer (fingerprint, digests, its own length), which the engine does not look at.
"""

from __future__ import annotations

import os
from _blake2 import blake2b  # hashlib's own, without the 4 ms that loading OpenSSL takes
from stat import S_ISDIR, S_ISREG, S_IWGRP, S_IWOTH
from time import time, time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

END = b"\nsampan code 1\n"
HEX = 64
SETTLED = 2_000_000_000  # ns; a younger inode may change again within one tick of the kernel's clock
ABANDONED = 3600  # seconds after which a temporary file has no writer any more
TEMPORARY = ".tmp-"
CHUNK = 1 << 20
MOST_TRAILER = 8192
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class CodeCache:
    """A cache of compiled code. No method raises for anything on the disk.

    Args:
        folder: keeps the code; made if it is not there, with mode 0700. run_folder: remembers until reboot what
            was verified; likewise.
    """

    def __init__(self, folder: str, run_folder: str) -> None:
        self._folder = folder
        self._memory = _Memory(run_folder)

    def digest(self, fd: int) -> str | None:
        """SHA-256 of a file in hex, without reading it when this state of its inode is remembered."""
        try:
            state = os.fstat(fd)
            known = self._memory.recall(state, "source")
            if known is None:
                known = _sha256(fd, state.st_size)
                self._memory.remember(fd, state, "source", known)
        except OSError:
            return None
        return known

    def knows(self, fd: int) -> bool:
        """Whether code of the module in an open file is kept, be it for this engine or for another."""
        try:
            digest = self.digest(fd)
            return digest is not None and any(name.startswith(digest) for name in os.listdir(self._folder))
        except OSError:
            return False

    def find(self, digest: str, fingerprint: str) -> int | None:
        """A descriptor of verified code for this module; close it. None when there is none; a bad one is deleted."""
        try:
            folder = _open_folder(self._folder)
        except OSError:
            return None
        name = _name(digest, fingerprint)
        try:
            fd = os.open(name, _READ, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError:  # a link, or not ours to read
            _remove(name, folder)
            return None
        else:
            if self._is_good(fd, digest, fingerprint):
                return fd
            os.close(fd)
            _remove(name, folder)
            return None
        finally:
            os.close(folder)

    def content(self, fd: int, digest: str, fingerprint: str) -> bytes:
        """The code alone, of what `find` gave."""
        size = os.fstat(fd).st_size - len(_trailer(digest, fingerprint, "0" * HEX))
        return b"".join(_chunks(fd, size))

    def store(self, digest: str, fingerprint: str, code: int) -> None:
        """Keep compiled code, read from a descriptor; where that fails, nothing is kept."""
        name = _name(digest, fingerprint)
        temporary = f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            folder = _open_folder(self._folder)
        except OSError:
            return
        try:
            _sweep(folder)
            fd = os.open(temporary, _CREATE, 0o600, dir_fd=folder)
            try:
                size = _copy(code, fd)
                _write(fd, _trailer(digest, fingerprint, _sha256(fd, size)))
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            _remove(temporary, folder)
        finally:
            os.close(folder)

    def discard(self, digest: str, fingerprint: str) -> None:
        """Forget code that the engine would not take."""
        try:
            folder = _open_folder(self._folder)
        except OSError:
            return
        _remove(_name(digest, fingerprint), folder)
        os.close(folder)

    def _is_good(self, fd: int, digest: str, fingerprint: str) -> bool:
        """Whether an open file is ours, for exactly this, and (once per state of its inode) undamaged."""
        try:
            state = os.fstat(fd)
            if not S_ISREG(state.st_mode) or not _is_ours(state):
                return False
            tail = os.pread(fd, MOST_TRAILER, max(state.st_size - MOST_TRAILER, 0))
            content = tail[-len(END) - HEX : -len(END)].decode("ascii", "replace")
            trailer = _trailer(digest, fingerprint, content)
            if not tail.endswith(trailer):
                return False
            if self._memory.recall(state, "code") == content:
                return True
            if _sha256(fd, state.st_size - len(trailer)) != content:
                return False
            self._memory.remember(fd, state, "code", content)
        except OSError:
            return False
        return True


class _Memory:
    """What is known of inodes: a small file for each in the run folder, good for one state of the inode."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def recall(self, state: os.stat_result, what: str) -> str | None:
        try:
            folder = _open_folder(self._folder)
            try:
                note = os.open(_inode(state, what), _READ, dir_fd=folder)
                try:
                    text = os.read(note, 256).decode("ascii", "replace") if _is_ours(os.fstat(note)) else ""
                finally:
                    os.close(note)
            finally:
                os.close(folder)
        except OSError:
            return None
        then, _, known = text.rstrip("\n").partition(" ")
        return known if then == _version(state) and len(known) == HEX else None

    def remember(self, fd: int, state: os.stat_result, what: str, known: str) -> None:
        """Best effort; an inode that changed since `state`, or just before, is not remembered."""
        if state.st_ctime_ns > time_ns() - SETTLED or _version(os.fstat(fd)) != _version(state):
            return
        try:
            folder = _open_folder(self._folder)
        except OSError:
            return
        temporary = f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            note = os.open(temporary, _CREATE, 0o600, dir_fd=folder)
            try:
                _write(note, f"{_version(state)} {known}\n".encode())
            finally:
                os.close(note)
            os.rename(temporary, _inode(state, what), src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            _remove(temporary, folder)
        finally:
            os.close(folder)


def _inode(state: os.stat_result, what: str) -> str:
    return f"{what}-{state.st_dev:x}-{state.st_ino:x}"


def _version(state: os.stat_result) -> str:
    """Differs whenever the content of an inode may be another."""
    return f"{state.st_ctime_ns}/{state.st_mtime_ns}/{state.st_size}"


def _open_folder(path: str) -> int:
    """A descriptor of a folder that only we can write, made if it is not there."""
    try:
        fd = os.open(path, _FOLDER)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        fd = os.open(path, _FOLDER)
    state = os.fstat(fd)
    if not S_ISDIR(state.st_mode) or not _is_ours(state):
        os.close(fd)
        raise PermissionError(path)
    return fd


def _is_ours(state: os.stat_result) -> bool:
    return state.st_uid == os.geteuid() and not state.st_mode & (S_IWGRP | S_IWOTH)


def _name(digest: str, fingerprint: str) -> str:
    return f"{digest}-{blake2b(fingerprint.encode(), digest_size=8).hexdigest()}"


def _trailer(digest: str, fingerprint: str, content: str) -> bytes:
    return f"\n{fingerprint}\n{digest}\n{content}".encode() + END


def _sha256(fd: int, size: int) -> str:
    from hashlib import sha256

    hashed = sha256()
    for chunk in _chunks(fd, size):
        hashed.update(chunk)
    return hashed.hexdigest()


def _chunks(fd: int, size: int) -> Iterator[bytes]:
    done = 0
    while done < size:
        chunk = os.pread(fd, min(CHUNK, size - done), done)
        if not chunk:
            raise OSError("the file became shorter")
        done += len(chunk)
        yield chunk


def _copy(source: int, target: int) -> int:
    size = os.fstat(source).st_size
    for chunk in _chunks(source, size):
        _write(target, chunk)
    return size


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _sweep(folder: int) -> None:
    """Remove what killed writers have left."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if (
                entry.name.startswith(TEMPORARY)
                and entry.stat(follow_symlinks=False).st_mtime < time() - ABANDONED
            ):
                _remove(entry.name, folder)


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass
