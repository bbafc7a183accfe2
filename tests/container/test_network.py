"""Servers in containers: published ports, host network, none; scenario S1's shape and row W23."""

import http.client
import time

import pytest

from sampan.container import control, ending
from sampan.engine.grants import Network, PortMap

from .conftest import EXAMPLES

SERVER = EXAMPLES / "02-http-server" / "http-server.wasm"


def bound_port(entry, seconds=20):
    """The host's port of the first published one, once the guest has bound it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ports = control.ask(entry.folder, {"do": "ports"})[0]
        if ports:
            return ports[0]
        time.sleep(0.02)
    raise AssertionError("it never bound its port")


def get(port, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/")
    body = connection.getresponse().read()
    connection.close()
    return body


def test_S1_a_published_port_answers_and_is_free_again_after_stop(world):
    network = Network("published", [PortMap("127.0.0.1", 0, 8080)])
    entry = world.start(module=SERVER, network=network)
    bound = bound_port(entry)
    assert b"Hello, World!" in get(bound["hostPort"])
    assert (bound["hostAddress"], bound["guestPort"]) == ("127.0.0.1", 8080)
    assert ending.stop(entry, world.roots, 15, 10).code == 143
    with pytest.raises(ConnectionRefusedError):
        get(bound["hostPort"])


def test_two_containers_publish_the_same_guest_port(world):
    network = Network("published", [PortMap("127.0.0.1", 0, 8080)])
    ports = [bound_port(world.start(module=SERVER, network=network))["hostPort"] for _ in range(2)]
    assert ports[0] != ports[1]
    assert all(b"Hello, World!" in get(port) for port in ports)


def test_W23_without_a_grant_there_is_no_network(world):
    entry, record = world.run(module=SERVER)
    assert record.code != 0
    assert world.errors(entry) != b""
