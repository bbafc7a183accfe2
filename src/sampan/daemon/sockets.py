"""The place of a server's Unix socket: one server at a time, and none that takes another one's away."""

from __future__ import annotations

import os
import socket
import stat

from sampan.core.errors import Exists, Invalid, SampanError, from_os_error
from sampan.daemon.alone import Alone
from sampan.linux import durable

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
        self._alone = Alone(f"{path}.lock", f"the socket {path!r}")

    def __enter__(self) -> None:
        durable.make_dir(os.path.dirname(self.path))
        self._alone.take()
        try:
            _clear(self.path)
        except SampanError:
            self._alone.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            os.unlink(self.path)
        except OSError:  # somebody removed it while we served
            pass
        self._alone.release()


def _clear(path: str) -> None:
    """Removes a socket that nobody listens at."""
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISSOCK(mode):
            raise Exists(f"{path!r} is there and no socket", fix="choose another path")
        if _is_served(path):
            raise Exists(f"another server listens at {path!r}", fix="choose another path")
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise from_os_error(error, f"remove the socket {path!r}") from error


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except TimeoutError:  # it listens and is busy
            return True
    return True
