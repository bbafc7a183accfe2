"""crictl's exec, attach and port-forward, by SPDY and by WebSocket, with pods of ours and those of containerd."""

from __future__ import annotations

import http.client
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.scenarios.conftest import until
from tests.scenarios.shim.pods.node import DEMO, NGINX, SLEEP, TOOL, WEB, Pod

from .node import CriNode

TRANSPORTS = ("spdy", "websocket")
by_each = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def pod(cri_node: CriNode) -> Iterator[Pod]:
    pod = Pod(cri_node, "wasm", name="streams")
    yield pod
    pod.remove()
    until(lambda: not cri_node.left())


@by_each
def test_exec_carries_streams_and_the_code(cri_node, pod, transport):
    boat = pod.run("boat", DEMO, (*TOOL, "sleep", "100000"))
    flags = ("exec", "--transport", transport)
    done = cri_node.crictl(*flags, boat.id, *TOOL, "stderr", "wrong")
    assert (done.stdout, done.stderr) == ("", "wrong\n")
    assert cri_node.crictl(*flags, "-i", boat.id, *TOOL, "stdin", stdin="hello").stdout == "hello"
    done = cri_node.crictl(*flags, boat.id, *TOOL, "exit", "42")
    assert done.returncode != 0 and "exit code 42" in done.stderr
    done = cri_node.crictl(*flags, boat.id, "absent")
    assert done.returncode != 0 and "absent: no such file" in done.stderr


def test_exec_sync_has_codes_and_a_time(cri_node, pod):
    boat = pod.run("boat", DEMO, (*TOOL, "sleep", "100000"))
    assert boat.exec_sync(*TOOL, "echo", "ahoy").stdout.strip() == "ahoy"
    assert "code = NotFound" in boat.exec_sync("absent").stderr
    done = cri_node.crictl("exec", "-s", "--timeout", "1", boat.id, *TOOL, "sleep", "1000")
    assert "code = DeadlineExceeded" in done.stderr


@by_each
def test_attach_shows_output_and_leaves_without_harm(cri_node, pod, transport):
    boat = pod.run("boat", DEMO, (*TOOL, "tick", "1000000", "20"))
    with _spawn(cri_node, "attach", "--transport", transport, boat.id) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline().startswith("tick ")
        attached.kill()
    assert boat.is_running


@by_each
def test_attach_passes_input_on(cri_node, pod, transport):
    boat = pod.run("boat", DEMO, (*TOOL, "stdin"), stdin=True, stdin_once=True)
    done = cri_node.crictl("attach", "-i", "--transport", transport, boat.id, stdin="hello\n")
    assert done.stdout == "hello\n"
    assert boat.ending() == (0, "Completed")


@by_each
def test_port_forward_reaches_a_server_in_the_pod(cri_node, pod, transport):
    pod.run("web", WEB)
    with _spawn(cri_node, "port-forward", "--transport", transport, pod.id, "0:8080") as forwarding:
        assert forwarding.stdout is not None
        line = forwarding.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        assert port is not None, line
        assert until(lambda: "Hello, World!" in _get(int(port[1])))
        forwarding.kill()


def test_streams_of_the_runtime_behind_us_are_its_own(cri_node):
    pod = Pod(cri_node, "runc", name="linux")
    boat = pod.run("boat", NGINX, SLEEP)
    done = cri_node.crictl("exec", "-i", boat.id, "/bin/busybox", "cat", stdin="hello")
    assert done.stdout == "hello"
    pod.remove()
    until(lambda: not cri_node.left())


def _spawn(node: CriNode, *words: str) -> subprocess.Popen[str]:
    """crictl, running beside the test."""
    command = [*node.crictl.command, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
