"""The control socket of a container process: attach, resize, ports, another log file, and the way into its world.

A socket of packets named `control` in the container's folder, mode 0600. The first packet of a connection is a
JSON request; what follows on an attached one are packets of one stream byte and up to 64 KiB.
Paths of sockets are limited to 108 bytes: the folder is opened and named as /proc/self/fd/N.
"""

from __future__ import annotations

import _socket
import os

from sampan.core import strictjson
from sampan.core.errors import Precondition, SampanError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "control"
MAX_DATA = 64 << 10
MAX_PACKET = MAX_DATA + 1
STDIN, STDOUT, STDERR, STDIN_END, RESIZE, ENDED = b"\0", b"\1", b"\2", b"\3", b"\4", b"\5"

Socket = _socket.socket


def listen(folder: str, name: str = NAME) -> Socket:
    """A listening socket in `folder`; one that a dead process left is replaced."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        server = _new()
        mask = os.umask(0o177)
        try:
            server.bind(f"/proc/self/fd/{directory}/{name}")
        finally:
            os.umask(mask)
        server.listen(64)
        server.setblocking(False)
        return server
    finally:
        os.close(directory)


def forget(folder: str, name: str) -> None:
    """Removes the socket of a server that goes away."""
    try:
        os.unlink(f"{folder}/{name}")
    except FileNotFoundError:
        return


def request(
    folder: str, value: dict[str, Any], timeout: float | None = None, fds: list[int] | None = None
) -> Socket:
    """A connection to the process of a running container, with a request and descriptors sent.

    With `timeout`, no call on the connection waits for longer (seconds).

    Raises:
        Precondition: the container is not running. Unavailable: it does not answer.
    """
    try:
        connection = connect(folder, timeout=timeout)
    except Precondition:
        raise Precondition("the container is not running", fix="start it first: sampan start NAME") from None
    try:
        send(connection, value, fds)
    except OSError as error:
        connection.close()
        raise Unavailable(f"the container does not answer: {error.strerror or 'timed out'}") from error
    return connection


def connect(folder: str, name: str = NAME, timeout: float | None = None) -> Socket:
    """A connection to the socket `name` in `folder`.

    Raises:
        Precondition: nobody listens there. Unavailable: who listens does not answer.
    """
    client = _new()
    client.settimeout(timeout)
    try:
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            client.connect(f"/proc/self/fd/{directory}/{name}")
        finally:
            os.close(directory)
    except (FileNotFoundError, ConnectionError) as error:
        client.close()
        raise Precondition(f"nobody listens on {folder}/{name}") from error
    except OSError as error:
        client.close()
        raise Unavailable(f"{folder}/{name} does not answer: {error.strerror or 'timed out'}") from error
    return client


def ask(
    folder: str, value: dict[str, Any], timeout: float | None = None, fds: list[int] | None = None
) -> tuple[Any, list[int]]:
    """One request, with descriptors, and its answer, with those that came along.

    Raises:
        Precondition: the container is not running.
        Unavailable: it ended before it answered, or did not answer for `timeout` seconds.
    """
    client = request(folder, value, timeout, fds)
    try:
        data, given = receive(client)
    except OSError as error:
        raise Unavailable(f"the container does not answer: {error.strerror or 'timed out'}") from error
    finally:
        client.close()
    if not data:
        raise Unavailable("the container ended before it answered")
    return strictjson.loads(data, what="the container's answer"), given


def peer(connection: Socket) -> int:
    """The pid of who listens at the other end."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], "little")


def receive(connection: Socket) -> tuple[bytes, list[int]]:
    """One packet and its descriptors; an empty one is the end."""
    room = _socket.CMSG_SPACE(8 * 4)
    data, ancillary, _, _ = connection.recvmsg(MAX_PACKET, room, _socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, raw in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds += memoryview(raw[: len(raw) // 4 * 4]).cast("i").tolist()
    return data, fds


def send(connection: Socket, value: Any, fds: list[int] | None = None) -> None:
    """One JSON packet, with descriptors."""
    numbers = b"".join(fd.to_bytes(4, "little") for fd in fds or ())  # `array` costs 2 ms to import
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)] if fds else []
    connection.sendmsg([strictjson.dumps(value)], rights)


def parse_request(data: bytes) -> dict[str, Any]:
    """The request of a first packet; an empty one where it is none."""
    try:
        value = strictjson.loads(data, what="the request")
    except SampanError:
        return {}
    return value if isinstance(value, dict) else {}


def _new() -> Socket:
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
