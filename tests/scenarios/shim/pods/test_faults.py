"""F1, F3, F4 with pods: what is killed while the kubelet's containers run, and what that costs."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sampan.doors.shim.server import COMING_SECONDS
from tests.scenarios.conftest import until

from .node import BUSYBOX, DEMO, FOREVER, NGINX, TOOL, WEB, Node, Pod

UNKNOWN = 255  # the CRI plugin's, of a task whose shim is gone


def test_F4_containerd_comes_back_to_pods_that_went_on(node: Node) -> None:
    pod = Pod(node, "wasmtime", name="lasts")
    ticks = pod.run("ticks", DEMO, (*TOOL, "tick", "100000", "20"))
    ends = pod.run("ends", DEMO, (*TOOL, "sleep", "3"))
    linux = pod.run("linux", NGINX)
    server, pid = pod.server, ends.pid
    until(ticks.lines)
    node.kill()
    until(lambda: not Path(f"/proc/{pid}").exists())
    node.start()
    assert ends.ending() == (0, "Completed")
    assert ticks.is_running and linux.is_running
    assert pod.server == server
    seen = len(ticks.lines())
    until(lambda: len(ticks.lines()) > seen + 10)
    assert ticks.exec("/wasi-demo-app.wasm", "exit", "0").returncode == 0
    assert linux.exec(*BUSYBOX, "true").returncode == 0
    ticks.crictl.ok("stop", "--timeout", "60", ticks.id)
    assert ticks.ending() == (143, "Error")
    pod.remove()
    until(lambda: not node.left())


def test_F1_a_killed_server_costs_its_pod_and_no_other(node: Node) -> None:
    lost, other = Pod(node, "wasmtime", name="lost"), Pod(node, "wasmtime", name="other")
    containers = [lost.run("wasm", DEMO, (*TOOL, *FOREVER)), lost.run("linux", NGINX)]
    unhurt = other.run("web", WEB)
    os.kill(lost.server, signal.SIGKILL)
    assert [container.ending() for container in containers] == [(UNKNOWN, "Error")] * 2
    until(lambda: lost.status["state"] == "SANDBOX_NOTREADY")
    until(lambda: node.crictl("rmp", "-f", lost.id).returncode == 0)  # containerd may be cleaning up just now
    assert unhurt.is_running and unhurt.exec("/toolbox.wasm", "echo", "ahoy").stdout == "ahoy\n"
    other.remove()
    assert until(lambda: not node.left())


def test_F1_a_server_that_dies_while_containerd_is_away(node: Node) -> None:
    lost, other = Pod(node, "wasmtime", name="lost"), Pod(node, "wasmtime", name="other")
    containers = [lost.run("wasm", DEMO, (*TOOL, *FOREVER)), lost.run("linux", NGINX)]
    unhurt = other.run("web", WEB)
    server = lost.server
    node.kill()
    os.kill(server, signal.SIGKILL)
    node.start()
    assert [container.ending()[0] for container in containers] == [UNKNOWN] * 2
    until(lambda: lost.status["state"] == "SANDBOX_NOTREADY")
    until(lambda: node.crictl("rmp", "-f", lost.id).returncode == 0)
    assert unhurt.is_running and unhurt.exec("/toolbox.wasm", "echo", "ahoy").stdout == "ahoy\n"
    other.remove()
    until(lambda: not node.left())


def test_F3_a_killed_zygote_costs_no_pod_anything(node: Node, pod: Pod) -> None:
    before = pod.run("before", WEB)
    for pid in node.zygotes():
        os.kill(pid, signal.SIGKILL)
    after = Pod(node, "wasmtime", name="after")
    assert after.run("wasm", DEMO, (*TOOL, "exit", "7")).ending() == (7, "Error")
    assert pod.run("later", DEMO, (*TOOL, "exit", "8")).ending() == (8, "Error")
    assert before.exec("/toolbox.wasm", "echo", "ahoy").stdout == "ahoy\n"
    after.remove()


def test_a_killed_sandbox_is_told_and_its_containers_go_on(node: Node) -> None:
    pod = Pod(node, "wasmtime", name="sandbox")
    server = pod.run("web", WEB)
    os.kill(pod.pid, signal.SIGKILL)
    until(lambda: pod.status["state"] == "SANDBOX_NOTREADY")
    done = server.exec("/toolbox.wasm", "echo", "ahoy")
    assert done.stdout == "ahoy\n", done.stderr
    pod.remove()
    until(lambda: not node.left())


@pytest.mark.parametrize("moment", [0.0, 0.2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_F4_containerd_ends_while_pods_are_made(node: Node, number: signal.Signals, moment: float) -> None:
    """Whatever it was about to do: afterwards all can be removed, and the next pod runs."""

    def make(index: int) -> None:
        try:
            Pod(node, "wasmtime", name=f"half-{index}").run("wasm", DEMO, (*TOOL, *FOREVER))
        except AssertionError:  # containerd was not there for it
            pass

    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(make, index) for index in range(4)]
        until(node.servers)
        time.sleep(moment)
        node.end_containerd(number)
        for each in made:
            each.result()
    node.start()
    until(lambda: node.crictl("rmp", "-af").returncode == 0)
    until(lambda: not node.left(), COMING_SECONDS + 30)  # a server whose task never came
    pod = Pod(node, "wasmtime", name="next")
    assert pod.run("wasm", DEMO, (*TOOL, "exit", "0")).ending() == (0, "Completed")
    pod.remove()


def test_pods_are_made_and_removed_at_once(node: Node) -> None:
    def life(index: int) -> tuple[int, str]:
        pod = Pod(node, "wasmtime", name=f"many-{index}")
        pod.run("stays", WEB)
        linux = pod.run("linux", NGINX, (*BUSYBOX, "true"))
        ended = pod.run("ends", DEMO, (*TOOL, "exit", str(index))).ending()
        assert linux.ending() == (0, "Completed")
        pod.remove()
        return ended

    with ThreadPoolExecutor(4) as pool:
        codes = [code for code, _ in pool.map(life, range(12))]
    assert codes == list(range(12))
    until(lambda: not node.left())
