"""Files and folders that last: written whole or not at all, and on the disk before anyone is told.

The only module of the project that writes lasting files. A file appears under its name complete and synced
(temporary file beside it, fsync, rename, fsync of the folder); a reader sees the old content or the new one.
What a killed writer leaves starts with `.tmp-` and means nothing to anyone. A failed fsync is lost data: the
kernel drops such pages and reports it once, so it is never tried again.
"""

from __future__ import annotations

import os
from stat import S_IMODE

from sampan.core.errors import DataLoss, Exists, Invalid, Precondition, SampanError, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

TEMPORARY = ".tmp-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_file(path: str, data: bytes, mode: int = 0o600, *, lasting: bool = True) -> None:
    """Put `data` under the name `path`, in place of what was there.

    Args:
        mode: the exact permission bits of the new file, whatever the umask.
        lasting: false for what means nothing after a reboot: it is whole, but not forced to the disk.

    Raises:
        SampanError: Exhausted, Denied, NotFound (the folder), DataLoss (EIO); the old file is untouched,
            except where the folder's own fsync failed: then either file may be there after a power cut.
    """
    with replace_file(path, mode, lasting=lasting) as file:
        file.write(data)


class replace_file:  # noqa: N801 - used like a function: `with replace_file(path) as file`
    """`write_file` for content that comes in pieces: `with replace_file(path) as file: file.write(piece)`.

    The name changes hands when the block ends; a block that raises leaves the old file as it was.

    Raises:
        SampanError: as `write_file`.
    """

    def __init__(self, path: str, mode: int = 0o600, *, lasting: bool = True) -> None:
        self.path = path
        self.mode = mode
        self._lasting = lasting
        self._folder = -1
        self._file = -1

    def __enter__(self) -> replace_file:
        folder, self._name = os.path.split(self.path)
        self._temporary = temporary_name()
        try:
            self._folder = os.open(folder or ".", _FOLDER)
            self._file = os.open(self._temporary, _CREATE, self.mode, dir_fd=self._folder)
            os.fchmod(self._file, self.mode)
        except (OSError, ValueError) as error:
            self._abandon()
            raise _refusal(error, f"write {self.path!r}") from error
        return self

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise _refusal(error, f"write {self.path!r}") from error

    def fileno(self) -> int:
        """The descriptor of the temporary file, for calls such as `sendfile`."""
        return self._file

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            if self._lasting:
                os.fsync(self._file)
            os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            if self._lasting:
                os.fsync(self._folder)
        except (OSError, ValueError) as error:
            self._abandon()
            raise _refusal(error, f"write {self.path!r}") from error
        self._close()

    def _abandon(self) -> None:
        """Remove the temporary file; what cannot be removed is only litter, and the first error counts."""
        if self._file >= 0:
            _try_unlink(self._temporary, self._folder)
        self._close()

    def _close(self) -> None:
        for fd in (self._file, self._folder):
            if fd >= 0:
                os.close(fd)
        self._file = self._folder = -1


def make_dir(path: str, mode: int = 0o700, *, exist_ok: bool = True) -> None:
    """Make the folder `path` and the missing ones above it, all with exactly `mode`.

    Raises:
        Exists: the name is taken by something else; or by a folder, and `exist_ok` is false.
        SampanError: the folder above cannot be written.
    """
    path = path.rstrip("/") or "/"
    try:
        os.mkdir(path, mode)
    except FileNotFoundError as error:
        above = os.path.dirname(path)
        if above in ("", path):
            raise _refusal(error, f"make the folder {path!r}") from error
        make_dir(above, mode)
        make_dir(path, mode, exist_ok=exist_ok)
        return
    except FileExistsError as error:
        if exist_ok and os.path.isdir(path):
            return
        raise Exists(f"cannot make the folder {path!r}: the name is taken") from error
    except (OSError, ValueError) as error:
        raise _refusal(error, f"make the folder {path!r}") from error
    try:
        fd = os.open(path, _FOLDER | os.O_NOFOLLOW)
        try:
            if S_IMODE(os.fstat(fd).st_mode) != mode:  # the umask took some bits
                os.fchmod(fd, mode)
        finally:
            os.close(fd)
        _sync_folder(os.path.dirname(path) or ".")
    except OSError as error:
        raise _refusal(error, f"make the folder {path!r}") from error


def move(source: str, target: str) -> None:
    """Rename a file or a folder, durably; a file (or an empty folder) at `target` is replaced.

    Both must be on one file system, and what is in `source` must be synced already.

    Raises:
        Exists: `target` is a folder with something in it.
        SampanError: NotFound, Denied, DataLoss, ...
    """
    try:
        os.rename(source, target)
        folders = {os.path.dirname(target) or ".", os.path.dirname(source) or "."}
        for folder in sorted(folders):
            _sync_folder(folder)
    except (OSError, ValueError) as error:
        raise _refusal(error, f"move {source!r} to {target!r}") from error


def remove_file(path: str) -> bool:
    """Remove the file, link or socket `path`, durably; true if it was there.

    Raises:
        SampanError: it cannot be removed, or is a folder.
    """
    try:
        os.unlink(path)
        _sync_folder(os.path.dirname(path) or ".")
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise _refusal(error, f"remove {path!r}") from error
    return True


def sync_dir(path: str) -> None:
    """Bring the names in the folder `path` to the disk.

    Raises:
        SampanError: DataLoss where the disk failed.
    """
    try:
        _sync_folder(path)
    except (OSError, ValueError) as error:
        raise _refusal(error, f"sync the folder {path!r}") from error


def sync_filesystem(path: str) -> None:
    """Bring the whole file system that holds `path` to the disk (syncfs): one call for a tree of many files.

    Raises:
        SampanError: DataLoss where the disk failed since `path` was opened or before.
    """
    from sampan.linux import syscalls

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.call("syncfs", fd, slow=True)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        raise _refusal(error, f"sync the file system of {path!r}") from error


def remove_tree(path: str, *, lasting: bool = True) -> None:
    """Remove `path` and everything in it; nothing there is fine. Links are removed, never followed.

    The name is gone at once, and comes back with what is left if the rest cannot be removed. A mount inside
    is refused and not touched. Folders without permission bits and trees of any depth are no obstacle.

    Args:
        lasting: false for what means nothing after a reboot, as for `write_file`.

    Raises:
        Precondition: something is mounted on it or in it.
        SampanError: Denied, DataLoss, ...
    """
    folder, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        raise Invalid(f"cannot remove {path!r}: it has no name of its own")
    try:
        above = os.open(folder or ".", _FOLDER)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _refusal(error, f"remove {path!r}") from error
    try:
        _remove_entry(above, name)
        if lasting:
            os.fsync(above)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _refusal(error, f"remove {path!r}") from error
    finally:
        os.close(above)


def temporary_name() -> str:
    """A fresh name that every reader of our folders passes over."""
    return TEMPORARY + os.urandom(8).hex()


def _remove_entry(above: int, name: str) -> None:
    if _unlinked(above, name):
        return
    hidden = temporary_name()
    os.rename(name, hidden, src_dir_fd=above, dst_dir_fd=above)
    try:
        top = _open_for_removal(above, hidden)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(hidden, dir_fd=above)
    except BaseException:
        os.rename(hidden, name, src_dir_fd=above, dst_dir_fd=above)
        raise


def _empty(top: int) -> None:
    """Remove all entries of a folder.

    Folders further down are first moved up into `top`, one level a round: two descriptors and no recursion at
    any depth, and the rename is refused (EBUSY) where something is mounted.
    """
    while names := os.listdir(top):
        for name in names:
            if _unlinked(top, name):
                continue
            moved = _move_up(top, name, top)
            inner = _open_for_removal(top, moved)
            try:
                for child in os.listdir(inner):
                    if not _unlinked(inner, child):
                        _move_up(inner, child, top)
            finally:
                os.close(inner)
            os.rmdir(moved, dir_fd=top)


def _move_up(source: int, name: str, top: int) -> str:
    moved = temporary_name()
    try:
        os.rename(name, moved, src_dir_fd=source, dst_dir_fd=top)
    except PermissionError:  # a folder that changes its parent must be writable itself
        _grant(source, name)
        os.rename(name, moved, src_dir_fd=source, dst_dir_fd=top)
    return moved


def _unlinked(folder: int, name: str) -> bool:
    """True once the entry is gone; false if it is a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    return True


def _open_for_removal(folder: int, name: str) -> int:
    try:
        fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except PermissionError:
        _grant(folder, name)
        fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    if S_IMODE(os.fstat(fd).st_mode) & 0o700 != 0o700 and os.geteuid() != 0:
        os.fchmod(fd, 0o700)
    return fd


def _grant(folder: int, name: str) -> None:
    """Give the owner all bits of a folder, by descriptor: chmod by name would follow a link put there."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
    finally:
        os.close(fd)


def _try_unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return


def _sync_folder(path: str) -> None:
    fd = os.open(path, _FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refusal(error: OSError | ValueError, doing: str) -> SampanError:
    from errno import EBUSY, EIO, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, ENOTEMPTY

    if isinstance(error, ValueError):  # a NUL or a lone surrogate in a path
        return Invalid(f"cannot {doing}: the name is not a file name")
    if error.errno == EIO:
        return DataLoss(f"cannot {doing}: the disk failed, the data is lost", fix="check the disk")
    if error.errno == EBUSY:
        return Precondition(f"cannot {doing}: something is mounted there", fix="unmount it first")
    if error.errno == ENOTEMPTY:
        return Exists(f"cannot {doing}: the folder is not empty")
    if error.errno in (ENOTDIR, ELOOP, ENAMETOOLONG, EISDIR):
        return Invalid(f"cannot {doing}: {error.strerror}")
    return from_os_error(error, doing)
