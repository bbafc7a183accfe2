"""Configuration files inside a root filesystem: read whole, written whole, with their mode, owner and labels.

The root may be an image that is being built, so a link in it never leads out of it (openat2). A file that is a link is
edited where it really is.
"""

from __future__ import annotations

import os
from stat import S_IMODE

from sampan.core.digest import digest_of
from sampan.core.errors import Exhausted, Invalid, NotFound, SampanError, from_os_error
from sampan.core.record import Record
from sampan.linux import durable
from sampan.linux.paths import MAX_LINKS, make_dirs_in_root, open_in_root, open_regular_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

MAX_BYTES = 4 << 20
_FOLDER = os.O_PATH | os.O_DIRECTORY


class Content(Record):
    """A file's bytes, and whose they are."""

    data: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    labels: dict[str, bytes] = {}

    @property
    def digest(self) -> str:
        return digest_of(self.data)


class Root:
    """A root filesystem, open; to be used as a context.

    Raises:
        SampanError: there is no such folder.
    """

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, _FOLDER | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError):
                raise Invalid(f"{path[:200]!r} is not a folder name") from error
            raise from_os_error(error, f"open the root {path!r}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def resolve(self, path: str) -> str:
        """Where the file named `path` really is, if that name is a link; the file need not be there."""
        for _ in range(MAX_LINKS):
            folder, name = os.path.split(path)
            try:
                fd = open_in_root(self._fd, folder, _FOLDER)
            except NotFound:
                return path
            try:
                target = os.readlink(name, dir_fd=fd)
            except OSError:  # nothing there, or no link
                return path
            finally:
                os.close(fd)
            path = target if target.startswith("/") else f"{folder}/{target}"
        raise Invalid(f"{path[:200]!r} is a link that leads nowhere")

    def read(self, path: str) -> Content | None:
        """The file, or None where there is none.

        Raises:
            SampanError: Invalid for what is no regular file, Exhausted above 4 MiB, Denied.
        """
        try:
            fd = open_regular_in_root(self._fd, path)
        except NotFound:
            return None
        with os.fdopen(fd, "rb") as file:
            data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise Exhausted(f"{path!r} has more than {MAX_BYTES} bytes: that is no configuration file")
            seen = os.fstat(fd)
            return Content(data, S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, _labels(fd))

    def is_program(self, path: str) -> bool:
        """Whether `path` is a regular file that may be run."""
        try:
            fd = open_regular_in_root(self._fd, path)
        except SampanError:
            return False
        try:
            return bool(os.fstat(fd).st_mode & 0o111)
        finally:
            os.close(fd)

    def missing_folders(self, path: str) -> list[str]:
        """The folders above `path` that are not there, the innermost first."""
        missing = []
        folder = os.path.dirname(path)
        while folder not in ("", "/"):
            try:
                os.close(open_in_root(self._fd, folder, _FOLDER))
            except NotFound:
                missing.append(folder)
                folder = os.path.dirname(folder)
                continue
            break
        return missing

    def write(self, path: str, data: bytes, like: Content | None, mode: int = 0o644) -> None:
        """Put `data` in place of the file, with the mode, owner and labels of `like`; missing folders are made.

        Raises:
            SampanError: it cannot be written; then the file is as it was.
        """
        bits = mode if like is None else like.mode
        with _Above(self._fd, path, make=True) as name, durable.replace_file(name, bits) as file:
            if like is not None:
                _give(file.fileno(), like)
            file.write(data)

    def staged(self, path: str, data: bytes) -> _Staged:
        """A context with a name, for other programs too, of a file with `data` in the folder of `path`."""
        return _Staged(self, path, data)

    def remove(self, path: str) -> None:
        """Remove the file; nothing there is fine.

        Raises:
            SampanError: it cannot be removed.
        """
        try:
            with _Above(self._fd, path) as name:
                durable.remove_file(name)
        except NotFound:
            return

    def remove_folders(self, paths: list[str]) -> None:
        """Remove these folders as far as they are empty."""
        for path in paths:
            try:
                with _Above(self._fd, path) as name:
                    os.rmdir(name)
            except (SampanError, OSError):
                return

    def open_folder(self, path: str, mode: int = 0o755) -> int:
        """A descriptor of the folder, made where it is missing."""
        return make_dirs_in_root(self._fd, path, mode)


class _Staged:
    """See `Root.staged`: the file is beside the real one, so that what it names relatively is found."""

    def __init__(self, root: Root, path: str, data: bytes) -> None:
        self._root = root
        self._folder = os.path.dirname(path)
        self._name = durable.temporary_name()
        self._data = data

    def __enter__(self) -> str:
        self._root.write(f"{self._folder}/{self._name}", self._data, None, 0o600)
        self._fd = self._root.open_folder(self._folder)
        return f"/proc/{os.getpid()}/fd/{self._fd}/{self._name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        self._root.remove(f"{self._folder}/{self._name}")


class _Above:
    """A name for `path` that the kernel looks up below the folder it is in, already opened inside the root."""

    def __init__(self, root: int, path: str, *, make: bool = False) -> None:
        self._folder, self._name = os.path.split(path)
        opened = make_dirs_in_root(root, self._folder) if make else open_in_root(root, self._folder, _FOLDER)
        self._fd = opened

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}/{self._name}"

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        os.close(self._fd)
        if isinstance(error, SampanError):  # in words that its reader knows
            message = error.message.replace(f"/proc/self/fd/{self._fd}", self._folder)
            raise type(error)(message, fix=error.fix) from error


def _give(fd: int, like: Content) -> None:
    try:
        seen = os.fstat(fd)
        if (seen.st_uid, seen.st_gid) != (like.uid, like.gid):
            os.fchown(fd, like.uid, like.gid)
            os.fchmod(fd, like.mode)
        for label, value in like.labels.items():
            os.setxattr(fd, label, value)
    except OSError as error:
        raise from_os_error(error, "give the new file the owner and labels of the old one") from error


def _labels(fd: int) -> dict[str, bytes]:
    """Security labels, ACLs and user attributes; a filesystem may have none."""
    try:
        return {name: os.getxattr(fd, name) for name in os.listxattr(fd)}
    except OSError:
        return {}
