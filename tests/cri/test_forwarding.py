"""Connections to a pod's ports, without a pod: where its namespace should be, and on the host's own network."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from sampan.core.errors import NotFound, Precondition, Unavailable
from sampan.doors.cri.execution import forwarding


async def ask(port: int) -> bytes:
    reader, writer = await forwarding.dial("", port)
    data = await reader.read(5)
    writer.close()
    await writer.wait_closed()
    return data


def test_X10_a_pod_whose_network_is_gone_is_told(tmp_path):
    with pytest.raises(NotFound, match="no network namespace"):
        forwarding.socket_in(str(tmp_path / "gone"), socket.AF_INET)
    (tmp_path / "file").write_text("")
    with pytest.raises(Precondition):
        forwarding.socket_in(str(tmp_path / "file"), socket.AF_INET)


@pytest.mark.parametrize(("family", "host"), forwarding.LOOPBACK)
def test_both_addresses_are_tried(family, host):
    with socket.create_server((host, 0), family=family) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"ahoy")

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        assert asyncio.run(ask(port)) == b"ahoy"
        thread.join()
    with pytest.raises(Unavailable, match=f"port {port} of the pod cannot be reached: Connection refused"):
        asyncio.run(ask(port))
