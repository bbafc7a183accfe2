"""The place of a server's Unix socket: one server at a time, and none that takes another one's away."""

from __future__ import annotations

import os
import socket
import stat

from sampan.core.errors import Exists, Invalid, Precondition, SampanError, from_os_error
from sampan.linux import durable
from sampan.linux.locks import FileLock

MOST_PATH = 107  # bytes, of the kernel's address


def path_of(address: str) -> str:
    """The path of `unix:///run/x.sock`.

    Raises:
        Invalid: it is not such an address, or longer than the kernel takes.
    """
    path = address.removeprefix("unix://")
    if path == address or not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise Invalid(f"{address!r} is not the address of a socket", fix="write it as unix:///run/name.sock")
    if len(os.fsencode(path)) > MOST_PATH:
        raise Invalid(f"the path of {address!r} is longer than {MOST_PATH} bytes", fix="choose a shorter one")
    return path


class Place:
    """A server's right to the socket `path`: `with Place(path):`, for as long as it serves.

    Missing folders above are made. A socket that a killed server left is removed.

    Raises:
        Precondition: another one of our servers has it. Exists: somebody else's socket, or file, is there.
        SampanError: the folder cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = FileLock(f"{path}.lock")

    def __enter__(self) -> Place:
        durable.make_dir(os.path.dirname(self.path))
        if not self._lock.try_acquire():
            raise Precondition(f"the process {_holder(self._lock.path)} serves {self.path!r} already")
        try:
            os.ftruncate(self._lock.fd, 0)
            os.pwrite(self._lock.fd, str(os.getpid()).encode(), 0)
            _clear(self.path)
        except OSError as error:
            self._lock.release()
            raise from_os_error(error, f"take the socket {self.path!r}") from error
        except SampanError:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.unlink(self.path)
        except OSError:  # somebody removed it while we served
            pass
        self._lock.release()


def _holder(path: str) -> str:
    try:
        with open(path) as file:
            return file.read(20).strip()
    except (OSError, ValueError):
        return ""


def _clear(path: str) -> None:
    """Removes a socket that nobody listens at."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Exists(f"{path!r} is there and no socket", fix="choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass
    raise Exists(f"another server listens at {path!r}", fix="choose another path")
