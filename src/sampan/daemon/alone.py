"""One server at a time has a thing: a locked file with its pid in it, which the kernel lets go when it dies."""

from __future__ import annotations

import os

from sampan.core.errors import Precondition, from_os_error
from sampan.linux.locks import FileLock


class Alone:
    """`with Alone(path, what):` holds the lock file `path`, which stays; `what` is what it stands for, in words.

    Raises:
        Precondition: another process has it; its pid is named. SampanError: the file cannot be written.
    """

    def __init__(self, path: str, what: str) -> None:
        self._lock = FileLock(path)
        self._what = what

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> None:
        """Takes it, until `release`."""
        if not self._lock.try_acquire():
            raise Precondition(f"the process {self._holder()} has {self._what} already", fix="stop it first")
        try:
            os.ftruncate(self._lock.fd, 0)
            os.pwrite(self._lock.fd, str(os.getpid()).encode(), 0)
        except OSError as error:
            self.release()
            raise from_os_error(error, f"write {self._lock.path!r}") from error

    def release(self) -> None:
        """Lets it go."""
        self._lock.release()

    def _holder(self) -> str:
        try:
            with open(self._lock.path) as file:
                return file.read(20).strip()
        except (OSError, ValueError):
            return ""
