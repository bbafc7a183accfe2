"""S15 and S16: pods through containerd's CRI plugin, with RuntimeClass handlers that are the shim's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import until
from tests.scenarios.oci.conftest import answer

from .node import (
    BUSYBOX,
    DEMO,
    FOREVER,
    HANDLERS,
    NGINX,
    SANDBOX,
    SLEEP,
    TOOL,
    WEB,
    Container,
    Node,
    Pod,
)


def test_S15_a_wasm_and_a_linux_container_share_a_pods_network(node: Node) -> None:
    pod = node.apply("k8s-mixed-pod.yaml")
    wasm, linux = pod.containers["wasm-demo-app"], pod.containers["linux-demo-app"]
    assert wasm.is_running and linux.is_running
    assert until(lambda: answer(8080, address=pod.ip)) == "Hello, World!\n"
    assert until(lambda: answer(80, address=pod.ip)) == "from Linux\n"
    fetched = linux.exec("/bin/busybox", "wget", "-qO-", "http://127.0.0.1:8080/")
    assert (fetched.returncode, fetched.stdout) == (0, "Hello, World!\n"), fetched.stderr
    assert wasm.lines() == ["listening on port 8080"]
    pod.remove()
    until(lambda: not node.left())


@pytest.mark.parametrize(
    ("manifest", "line"),
    [("k8s-shim-deployment.yaml", "duizhang"), ("k8s-shim-any-binary-deployment.yaml", "Hello, World!")],
)
def test_S16_a_deployments_pod_completes(node: Node, manifest: str, line: str) -> None:
    pod = node.apply(manifest)
    (container,) = pod.containers.values()
    assert container.ending() == (0, "Completed")
    assert line in container.lines()
    assert line in node.crictl.ok("logs", container.id).splitlines()
    pod.remove()


@pytest.mark.parametrize("handler", HANDLERS)
def test_every_handler_runs_both_kinds(node: Node, handler: str) -> None:
    pod = Pod(node, handler, name=f"by-{handler}")
    wasm = pod.run("wasm", DEMO, (*TOOL, "echo", "ahoy"))
    linux = pod.run("linux", NGINX, (*BUSYBOX, "echo", "ahoy"))
    assert (wasm.ending(), wasm.lines()) == ((0, "Completed"), ["ahoy"])
    assert (linux.ending(), linux.lines()) == ((0, "Completed"), ["ahoy"])
    pod.remove()


def test_a_pods_sandbox_runs_nothing_of_its_image(pod: Pod) -> None:
    """The image's program is not even in it: a node needs no pause image, and no registry for one."""
    info = json.loads(pod.crictl.ok("inspectp", pod.id))["info"]
    assert info["image"] == SANDBOX
    assert Path(f"/proc/{info['pid']}/comm").read_text() == "sampan-workload\n"
    assert pod.status["state"] == "SANDBOX_READY"


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (("exit", "0"), (0, "Completed")),
        (("exit", "42"), (42, "Error")),
        (("trap",), (134, "Error")),
        (("grow", "4096"), (137, "OOMKilled")),
    ],
)
def test_the_ending_is_told_as_it_was(pod: Pod, words: tuple[str, ...], ending: tuple[int, str]) -> None:
    container = pod.run("ends", DEMO, (*TOOL, *words), resources={"memory_limit_in_bytes": 64 << 20})
    assert container.ending() == ending


def test_a_linux_container_over_its_memory_is_oom_killed(pod: Pod) -> None:
    fill = (*BUSYBOX, "dd", "if=/dev/zero", "of=/dev/null", "bs=256M")
    container = pod.run("ends", NGINX, fill, resources={"memory_limit_in_bytes": 32 << 20})
    assert container.ending() == (137, "OOMKilled")


def test_a_log_has_both_streams_in_cris_format(pod: Pod) -> None:
    container = pod.run("out", DEMO, (*TOOL, "tick", "3", "1"))
    complaint = pod.run("err", DEMO, (*TOOL, "stderr", "oops"))
    assert container.ending() == complaint.ending() == (0, "Completed")
    assert (container.lines(), container.lines("stderr")) == (["tick 0", "tick 1", "tick 2"], [])
    assert (complaint.lines(), complaint.lines("stderr")) == ([], ["oops"])
    told = pod.crictl("logs", complaint.id)
    assert (told.stdout, told.stderr) == ("", "oops\n")


def test_a_long_output_is_logged_whole(pod: Pod) -> None:
    container = pod.run("flood", DEMO, (*TOOL, "flood", str(1 << 20)))
    assert container.ending() == (0, "Completed")
    assert len(pod.crictl.ok("logs", container.id)) == 1 << 20


def test_exec_runs_another_module_and_tells_how_it_ended(pod: Pod) -> None:
    server = pod.run("web", WEB, envs=[{"key": "GREETING", "value": "ahoy"}])
    assert server.exec("/toolbox.wasm", "echo", "a", "b").stdout == "a b\n"
    assert server.exec_sync("/toolbox.wasm", "echo", "a", "b").stdout.split() == ["a", "b"]
    assert server.exec("/toolbox.wasm", "stdin", stdin="words\n").stdout == "words\n"
    assert server.exec("/toolbox.wasm", "stderr", "oops").stderr == "oops\n"
    assert "GREETING=ahoy" in server.exec("/toolbox.wasm", "env").stdout.splitlines()
    failed = server.exec("/toolbox.wasm", "exit", "42")
    assert failed.returncode != 0 and "42" in failed.stderr
    assert "no-such.wasm" in server.exec("/no-such.wasm").stderr
    assert server.is_running


def test_a_pods_network_name_and_dns_are_its_containers(pod: Pod) -> None:
    """By a module that is asked for its environment and files, and by a Linux program beside it."""
    server, linux = pod.run("web", WEB), pod.run("linux", NGINX)
    resolver = "search default.svc.cluster.local\nnameserver 10.96.0.10\n"
    assert server.exec("/toolbox.wasm", "cat", "/etc/resolv.conf").stdout == resolver
    assert linux.exec(*BUSYBOX, "cat", "/etc/resolv.conf").stdout == resolver
    assert "HOSTNAME=pod" in server.exec("/toolbox.wasm", "env").stdout.splitlines()
    assert server.exec("/toolbox.wasm", "cat", "/etc/hostname").stdout == "pod\n"
    assert linux.exec(*BUSYBOX, "hostname").stdout == "pod\n"
    assert pod.ip in linux.exec(*BUSYBOX, "ip", "-4", "address").stdout
    assert linux.exec(*BUSYBOX, "df", "/dev/shm").stdout.split()[7:9] == ["shm", "65536"]


def test_linux_containers_are_runcs_in_the_same_sandbox(pod: Pod) -> None:
    one, two, wasm = (
        pod.run("one", NGINX),
        pod.run("two", NGINX, SLEEP),
        pod.run("wasm", DEMO, (*TOOL, *FOREVER)),
    )
    for kind in ("net", "ipc", "uts"):
        found = {Path(f"/proc/{c.pid}/ns/{kind}").stat().st_ino for c in (one, two, wasm)}
        assert len(found) == 1, kind
    assert one.exec(*BUSYBOX, "touch", "/dev/shm/there").returncode == 0
    assert two.exec(*BUSYBOX, "ls", "/dev/shm").stdout == "there\n"


def test_processes_and_limits_are_in_the_pods_cgroup(pod: Pod) -> None:
    wasm, linux = pod.run("wasm", DEMO, (*TOOL, *FOREVER)), pod.run("linux", NGINX, SLEEP)
    for container in (wasm, linux):
        groups = Path(f"/proc/{container.pid}/cgroup").read_text().splitlines()
        memory = next(line for line in groups if ":memory:" in line or line.startswith("0::/"))
        assert memory.endswith(f"/{pod.node.name}/{container.id}")


def test_statistics_are_what_the_containers_use(pod: Pod) -> None:
    busy, linux = pod.run("busy", DEMO, (*TOOL, "loop")), pod.run("linux", NGINX)

    def used(container: Container) -> dict[str, Any]:
        stats: dict[str, Any] = json.loads(pod.crictl.ok("stats", "-o", "json", "--id", container.id))[
            "stats"
        ][0]
        return stats

    until(lambda: int(used(busy)["cpu"]["usageCoreNanoSeconds"]["value"]) > 100_000_000)
    assert int(used(busy)["memory"]["workingSetBytes"]["value"]) > 1 << 20
    assert int(used(linux)["cpu"]["usageCoreNanoSeconds"]["value"]) > 0
    assert int(used(linux)["memory"]["workingSetBytes"]["value"]) > 0
    of_pod = json.loads(pod.crictl.ok("statsp", "-o", "json", "--id", pod.id))["stats"][0]
    assert {stats["attributes"]["metadata"]["name"] for stats in of_pod["linux"]["containers"]} == {
        "busy",
        "linux",
    }
    assert int(of_pod["linux"]["cpu"]["usageCoreNanoSeconds"]["value"]) > 0
    assert int(of_pod["linux"]["memory"]["workingSetBytes"]["value"]) > 0


@pytest.mark.parametrize("words", [FOREVER, ("loop",)])
def test_stop_is_143_well_before_its_time(pod: Pod, words: tuple[str, ...]) -> None:
    container = pod.run("stops", DEMO, (*TOOL, *words))
    pod.crictl.ok("stop", "--timeout", "60", container.id)
    assert container.ending() == (143, "Error")
    pod.crictl.ok("rm", container.id)
    assert container.id not in pod.crictl.ok("ps", "-aq")


def test_stopping_a_pod_stops_its_containers_and_its_network(node: Node) -> None:
    pod = Pod(node, "wasmtime", name="stopped")
    server = pod.run("web", WEB)
    ip = pod.ip
    assert until(lambda: answer(8080, address=ip))
    pod.crictl.ok("stopp", pod.id)
    assert server.status["state"] == "CONTAINER_EXITED"
    assert pod.status["state"] == "SANDBOX_NOTREADY"
    assert answer(8080, address=ip) == ""
    pod.crictl.ok("rmp", pod.id)
    assert pod.id not in pod.crictl.ok("pods", "-q")
    assert until(lambda: not node.left())


def test_a_container_that_cannot_start_says_why(pod: Pod) -> None:
    container = pod.create("none", DEMO, ("/no-such.wasm",))
    refused = pod.crictl("start", container.id)
    assert refused.returncode != 0 and "/no-such.wasm" in refused.stderr
    assert container.status["reason"] == "StartError"
    assert pod.run("after", DEMO, (*TOOL, "echo", "ahoy")).ending() == (0, "Completed")
