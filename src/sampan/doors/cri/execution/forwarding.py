"""Connections to the ports of a pod: to its loopback address, from inside its network namespace."""

from __future__ import annotations

import asyncio
import os
import socket

from sampan.core.errors import NotFound, Unavailable
from sampan.linux import namespaces
from sampan.linux.namespaces import NEWNET
from sampan.linux.threads import apart

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

    def make() -> socket.socket:
        with open(netns, "rb") as file:
            namespaces.enter(file.fileno(), NEWNET)
        return _new(family)

    try:
        return apart(make)
    except FileNotFoundError:
        raise NotFound(f"the pod has no network namespace any more ({os.path.basename(netns)})") from None


def _new(family: int) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    return connection
