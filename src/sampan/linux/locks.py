"""Locks between processes: flock on a file made for it; the kernel lets go when the holder dies.

Lock files are never removed (a waiter could then hold a lock on a file that nobody else finds). A forked
child shares its parent's lock until it closes the descriptor; descriptors are closed on exec.
"""

from __future__ import annotations

import fcntl
import os

from sampan.core.errors import Invalid, Precondition, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class FileLock:
    """The lock named by a file: `with FileLock(path):` waits for it, `try_acquire()` does not.

    Args:
        path: the lock file, made with mode 0600 if it is not there; a symbolic link is refused.
        shared: together with other shared holders, instead of alone.
    """

    def __init__(self, path: str, shared: bool = False) -> None:
        self.path = path
        self.shared = shared
        self.fd = -1

    def acquire(self) -> None:
        """Wait until the lock is ours.

        Raises:
            SampanError: the file cannot be opened.
        """
        self._take(0)

    def try_acquire(self) -> bool:
        """Take the lock if it is free; false if somebody else holds it.

        Raises:
            SampanError: the file cannot be opened.
        """
        return self._take(fcntl.LOCK_NB)

    def _take(self, wait: int) -> bool:
        if self.fd >= 0:
            raise Precondition(f"the lock {self.path!r} is held by this object already")
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except ValueError as error:
            raise Invalid(f"cannot lock {self.path!r}: the name is not a file name") from error
        except OSError as error:
            raise from_os_error(error, f"open the lock {self.path!r}") from error
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX) | wait)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        return True

    def release(self) -> None:
        """Let it go; a lock that is not held is left alone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
