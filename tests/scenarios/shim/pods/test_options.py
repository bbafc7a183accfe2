"""What else a pod's manifest may ask for, as the kubelet hands it to containerd's CRI plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.conftest import free_port, until
from tests.scenarios.oci.conftest import Terminal, answer, says_hello

from .node import BUSYBOX, DEMO, FOREVER, NGINX, SLEEP, TOOL, WEB, Node, Pod

POD, CONTAINER = 0, 1  # CRI's namespace modes
RESTRICTED = {
    "run_as_user": {"value": 1000},
    "run_as_group": {"value": 1000},
    "readonly_rootfs": True,
    "no_new_privs": True,
    "capabilities": {"drop_capabilities": ["ALL"]},
    "seccomp": {"profile_type": 0},
}
"""What the restricted pod security standard demands, and a root filesystem that nobody writes to."""


def test_containers_share_the_pods_processes(node: Node) -> None:
    pod = Pod(node, "wasmtime", {"namespace_options": {"pid": POD}}, name="shares")
    shared = {"namespace_options": {"pid": POD}}
    wasm = pod.run("wasm", DEMO, (*TOOL, *FOREVER), security=shared)
    linux = pod.run("linux", NGINX, SLEEP, security=shared)
    spaces = {Path(f"/proc/{container.pid}/ns/pid").stat().st_ino for container in (wasm, linux)}
    assert len(spaces) == 1
    assert len(linux.exec(*BUSYBOX, "ps", "-o", "pid").stdout.split()) >= 4
    pod.crictl.ok("stop", "--timeout", "60", wasm.id)
    assert wasm.ending() == (143, "Error")
    assert linux.is_running
    pod.remove()
    until(lambda: not node.left())


def test_a_restricted_pod_runs(pod: Pod) -> None:
    wasm = pod.run("wasm", WEB, security=RESTRICTED)
    linux = pod.run("linux", NGINX, SLEEP, security=RESTRICTED)
    assert until(lambda: answer(8080, address=pod.ip)) == "Hello, World!\n"
    for container in (wasm, linux):
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert "\nUid:\t1000\t1000\t1000\t1000\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status and "\nSeccomp:\t2\n" in status
    assert wasm.exec("/toolbox.wasm", "write", "/new", "text").returncode != 0
    assert linux.exec(*BUSYBOX, "touch", "/new").returncode != 0


def test_volumes_are_mounted_as_they_are_asked_for(pod: Pod) -> None:
    folder = pod.node.folder / "volume"
    folder.mkdir(exist_ok=True)
    (folder / "there").write_text("words")
    mounts = [
        {"container_path": "/data", "host_path": str(folder)},
        {"container_path": "/fixed", "host_path": str(folder), "readonly": True},
        {"container_path": "/etc/one", "host_path": str(folder / "there"), "readonly": True},
    ]
    wasm = pod.run("wasm", WEB, mounts=mounts)
    assert wasm.exec("/toolbox.wasm", "cat", "/etc/one").stdout == "words"
    assert wasm.exec("/toolbox.wasm", "write", "/data/new", "text").returncode == 0
    assert (folder / "new").read_text() == "text"
    assert wasm.exec("/toolbox.wasm", "write", "/fixed/new", "other").returncode != 0
    assert wasm.exec("/toolbox.wasm", "cat", "/fixed/new").stdout == "text"


def test_a_port_of_the_pod_is_forwarded(pod: Pod) -> None:
    pod.run("web", WEB)
    port = free_port()
    forwards = pod.crictl.start("port-forward", pod.id, f"{port}:8080")
    try:
        assert says_hello(port)
    finally:
        forwards.kill()
        forwards.communicate()


def test_a_container_with_a_terminal_is_attached_to(pod: Pod) -> None:
    container = pod.run("asks", DEMO, (*TOOL, "stdin"), tty=True, stdin=True)
    with Terminal([*pod.crictl.command, "attach", "-it", container.id], pod.crictl) as terminal:
        terminal.type(b"words\n")
        terminal.until_seen(b"words\r\nwords\r\n")
        terminal.type(b"\4")
        terminal.wait()
    assert container.ending() == (0, "Completed")


def test_exec_in_a_terminal(pod: Pod) -> None:
    web = pod.run("web", WEB)
    with Terminal(
        [*pod.crictl.command, "exec", "-it", web.id, "/toolbox.wasm", "stdin"], pod.crictl
    ) as terminal:
        terminal.type(b"words\n")
        terminal.until_seen(b"words\r\nwords\r\n")
        terminal.type(b"\4")
        assert terminal.wait() == 0


def test_input_without_a_terminal_is_attached_to(pod: Pod) -> None:
    container = pod.run("asks", DEMO, (*TOOL, "stdin"), stdin=True, stdin_once=True)
    assert pod.crictl.ok("attach", "-i", container.id, stdin="words\n") == "words\n"
    assert container.ending() == (0, "Completed")
    assert container.lines() == ["words"]


@pytest.mark.parametrize(("image", "words"), [(WEB, ("/toolbox.wasm", *FOREVER)), (NGINX, SLEEP)])
def test_a_probe_that_takes_too_long_is_ended(pod: Pod, image: str, words: tuple[str, ...]) -> None:
    container = pod.run("probed", image)
    done = pod.crictl("exec", "-s", "--timeout", "1", container.id, *words)
    assert done.returncode != 0 and "timeout" in done.stderr
    group = next(Path("/sys/fs/cgroup").glob(f"*/{pod.node.name}/{container.id}/cgroup.procs"))
    until(lambda: len(group.read_text().split()) == 1)
    assert container.is_running


def test_an_update_changes_the_limits(pod: Pod) -> None:
    wasm, linux = pod.run("wasm", DEMO, (*TOOL, *FOREVER)), pod.run("linux", NGINX, SLEEP)
    for container in (wasm, linux):
        pod.crictl.ok("update", "--memory", str(128 << 20), "--cpu-share", "256", container.id)
        limit = Path(f"/sys/fs/cgroup/memory/{pod.node.name}/{container.id}/memory.limit_in_bytes")
        if not limit.exists():
            pytest.skip("the cgroups are version 2")
        assert int(limit.read_text()) == 128 << 20


def test_containers_that_come_and_go_cost_the_server_nothing(pod: Pod) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{pod.server}/fd").iterdir()))

    assert pod.run("first", DEMO, (*TOOL, "exit", "0")).ending() == (0, "Completed")
    before = descriptors()
    for turn in range(4):
        containers = [pod.run(f"c{turn}-{code}", DEMO, (*TOOL, "exit", str(code))) for code in range(4)]
        assert [container.ending()[0] for container in containers] == [0, 1, 2, 3]
    until(lambda: descriptors() <= before)
