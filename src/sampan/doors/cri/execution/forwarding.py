"""Connections to the ports of a pod: to its loopback address, from inside its network namespace."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

from sampan.core.errors import Internal, NotFound, SampanError, Unavailable
from sampan.linux import namespaces
from sampan.linux.namespaces import NEWNET

SECONDS = 10.0  # for a port of the same machine to answer
LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def dial(netns: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to `localhost` of a pod.

    Args:
        netns: the path of its network namespace, "" for the host's.

    Raises:
        Unavailable: nobody listens there. NotFound: the namespace is gone.
    """
    failure = ""  # the first: not every pod has both
    for family, host in LOOPBACK:
        try:
            connection = socket_in(netns, family)
        except OSError as error:
            failure = failure or os.strerror(error.errno or 0)
            continue
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.get_running_loop().sock_connect(connection, (host, port))
            return await asyncio.open_connection(sock=connection)
        except TimeoutError:
            connection.close()
            failure = failure or f"no answer in {SECONDS:g} seconds"
        except OSError as error:
            connection.close()
            failure = failure or os.strerror(error.errno or 0)
        except BaseException:
            connection.close()
            raise
    raise Unavailable(f"port {port} of the pod cannot be reached: {failure}")


def socket_in(netns: str, family: int) -> socket.socket:
    """A TCP socket in a network namespace; it does not block.

    Raises:
        NotFound: the namespace is gone. SampanError: it cannot be entered. OSError: there are no such sockets.
    """
    if not netns:
        return _new(family)
    made: list[socket.socket | Exception] = []

    def make() -> None:
        """Runs in a thread that ends behind it: so nobody has to go back, and cannot fail to."""
        try:
            with open(netns, "rb") as file:
                namespaces.enter(file.fileno(), NEWNET)
            made.append(_new(family))
        except Exception as error:  # raised again by who waits
            made.append(error)

    thread = threading.Thread(target=make, name="netns")
    thread.start()
    thread.join()
    match made:
        case [socket.socket() as connection]:
            return connection
        case [FileNotFoundError()]:
            raise NotFound(f"the pod has no network namespace any more ({os.path.basename(netns)})")
        case [SampanError() | OSError() as error]:
            raise error
    raise Internal(f"no socket can be made in a pod's network: {made}")


def _new(family: int) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    return connection
