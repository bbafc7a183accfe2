"""Pods that are not ours, through our socket: containerd's answers come back, whatever happens to it or to us."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.scenarios.conftest import until
from tests.scenarios.oci.conftest import answer
from tests.scenarios.shim.pods.node import BUSYBOX, NGINX, SERVE, SLEEP, Pod

from .node import CriNode

SHELL = (*BUSYBOX, "sh", "-c")


@pytest.fixture
def pod(cri_node: CriNode) -> Iterator[Pod]:
    pod = Pod(cri_node, "runc", name="linux")
    yield pod
    pod.remove()
    until(lambda: not cri_node.left())


def test_a_linux_pod_lives_its_whole_life_through_our_socket(cri_node, pod):
    container = pod.run("web", NGINX, (*SHELL, f"echo begun; echo oops >&2; {SERVE}"))
    assert until(lambda: answer(80, address=pod.ip)) == "from Linux\n"
    assert container.lines() == ["begun"] and container.lines("stderr") == ["oops"]
    assert "begun" in cri_node.crictl.ok("logs", container.id)
    assert container.exec(*SHELL, "echo $((6*7)); exit 3").stdout.strip() == "42"
    assert container.exec_sync(*SHELL, "echo $((6*7))").stdout.strip() == "42"
    assert "sh here" in container.exec(*BUSYBOX, "cat", stdin="sh here").stdout
    cri_node.crictl.ok("stop", "--timeout", "1", container.id)
    assert container.ending()[0] in (137, 143)
    cri_node.crictl.ok("rm", container.id)
    assert container.id not in cri_node.crictl.ok("ps", "-aq", "--no-trunc")


def test_lists_and_ids_are_those_of_the_runtime_behind(cri_node, pod):
    container = pod.run("sleeper", NGINX, SLEEP)
    for words in (
        ("pods", "-o", "json"),
        ("ps", "-a", "-o", "json"),
        ("images", "-o", "json"),
        ("inspectp", pod.id),
        ("inspecti", NGINX),
    ):
        assert json.loads(cri_node.crictl.ok(*words)) == json.loads(cri_node.behind.ok(*words)), words
    assert container.id[:12] in cri_node.crictl.ok("stats", "-o", "json", container.id)
    assert pod.id in cri_node.crictl.ok("statsp", "-o", "json", "--id", pod.id)


def test_the_status_is_that_of_both(cri_node):
    status = cri_node.status()["status"]["conditions"]
    conditions = {one["type"]: one["status"] for one in status}
    assert conditions["RuntimeReady"] and conditions["NetworkReady"] and conditions["UpstreamReady"]
    version = cri_node.crictl.ok("version")
    assert "RuntimeName:  sampan" in version and "RuntimeApiVersion:  v1" in version


def test_an_error_of_the_runtime_behind_is_told_as_it_was(cri_node):
    for words in (("inspect", "nothing"), ("exec", "-s", "nothing", "true"), ("start", "nothing")):
        ours, theirs = cri_node.crictl(*words), cri_node.behind(*words)
        assert ours.returncode == theirs.returncode == 1
        assert _told(ours.stderr) == _told(theirs.stderr)


def _told(text: str) -> str:
    return text[text.index("rpc error") :]


def test_X6_the_runtime_behind_is_killed_and_comes_back(cri_node, pod):
    container = pod.run("sleeper", NGINX, SLEEP)
    cri_node.crictl.ok("pods")
    cri_node.kill()
    refused = cri_node.crictl("inspectp", pod.id)
    assert refused.returncode == 1 and "code = Unavailable" in refused.stderr
    assert f"the runtime at {cri_node.upstream} does not answer" in refused.stderr
    assert pod.id in cri_node.crictl.ok("pods", "-q", "--no-trunc")  # as a kubelet last saw it
    conditions = {one["type"]: one["status"] for one in cri_node.status()["status"]["conditions"]}
    assert conditions["RuntimeReady"] and not conditions["UpstreamReady"]
    assert "knows nothing new of other pods" in cri_node.log_of_server()
    cri_node.begin_containerd()
    until(lambda: cri_node.crictl("inspectp", pod.id).returncode == 0)
    assert pod.id in cri_node.crictl.ok("pods", "-q", "--no-trunc")
    assert container.is_running
    assert container.exec_sync(*SHELL, "echo back").stdout.strip() == "back"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_X6_our_server_ends_and_the_pod_goes_on(cri_node, pod, number):
    container = pod.run("sleeper", NGINX, SLEEP)
    code = cri_node.end_server(number)
    assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    cri_node.serve()
    assert container.is_running
    assert container.exec_sync(*SHELL, "echo back").stdout.strip() == "back"
