"""S13, S15, S16: a kubelet and a whole control plane with `sampan cri` as the node's runtime, containerd behind it.

What people type stays as they type it, with the manifests as they have them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sampan
from tests import tools
from tests.scenarios.conftest import needs, until
from tests.scenarios.shim.pods.node import BUSYBOX, NGINX, WEB

from .cluster import PROGRAMS, Cluster
from .configuration import ADDRESS
from .workloads import HELLO, LINUX, MINUTE, TOOL, container, ended, pod, ready, running, serves, state, tool

MANIFESTS = Path(__file__).parent / "manifests"
SHARED = Path(__file__).parents[1] / "shim" / "pods" / "manifests"

pytestmark = [*tools.needs("kubernetes"), needs(*PROGRAMS)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("images")) as cluster:
        yield cluster


def test_the_node_shows_our_name_and_version(cluster: Cluster) -> None:
    lines = cluster.kubectl.ok("get", "nodes", "-o", "wide").splitlines()
    assert lines[1].split()[-1] == f"sampan://{sampan.__version__}"
    assert lines[1].split()[1] == "Ready"
    nodes = json.loads(cluster.kubectl.ok("get", "nodes", "-o", "json"))["items"]
    handlers = {handler["name"] for handler in nodes[0]["status"]["runtimeHandlers"]}
    assert {"wasm", "wasmrun", "wasmedge", "crun"} <= handlers


def test_S13_a_job_runs_an_export_and_completes(cluster: Cluster) -> None:
    cluster.kubectl.ok("apply", "-f", str(MANIFESTS / "k8s-cri-job.yaml"))
    done = cluster.kubectl("wait", "--for=condition=Complete", "--timeout=60s", "job/wasmrun-job")
    assert done.returncode == 0, cluster.kubectl("describe", "pods").stdout
    assert cluster.kubectl.ok("logs", "job/wasmrun-job") == "Hello, duizhangwww!\n"
    cluster.kubectl.ok("delete", "-f", str(MANIFESTS / "k8s-cri-job.yaml"))


def test_S13_linux_pods_of_the_same_node_run_through_containerd(cluster: Cluster) -> None:
    cluster.apply(pod("linux", container(NGINX), handler=""), pod("wasm", container(WEB)))
    addresses = {name: ready(cluster, name)["status"]["podIP"] for name in ("linux", "wasm")}
    assert serves(lambda: cluster.fetch(f"http://{addresses['linux']}/")) == LINUX
    assert serves(lambda: cluster.fetch(f"http://{addresses['wasm']}:8080/")) == HELLO
    theirs = cluster.containerd_tasks()
    ids = {name: state(cluster, name)["containerID"].removeprefix("sampan://") for name in ("linux", "wasm")}
    assert ids["linux"] in theirs and ids["wasm"] not in theirs
    assert cluster.kubectl.ok("exec", "linux", "--", *BUSYBOX, "echo", "here") == "here\n"
    listed = cluster.kubectl.ok("logs", "linux")
    assert listed == ""
    cluster.kubectl.ok("delete", "pod", "linux", "wasm")


def test_S15_wasm_and_linux_in_one_pod(cluster: Cluster) -> None:
    cluster.kubectl.ok("apply", "-f", str(SHARED / "k8s-mixed-pod.yaml"))
    address = ready(cluster, "wasm-demo-app")["status"]["podIP"]
    assert serves(lambda: cluster.fetch(f"http://{address}:8080/")) == HELLO
    assert serves(lambda: cluster.fetch(f"http://{address}/")) == LINUX
    words = (
        "exec",
        "wasm-demo-app",
        "-c",
        "linux-demo-app",
        "--",
        *BUSYBOX,
        "wget",
        "-qO-",
        "127.0.0.1:8080",
    )
    assert cluster.kubectl.ok(*words) == HELLO
    cluster.kubectl.ok("delete", "--grace-period=1", "-f", str(SHARED / "k8s-mixed-pod.yaml"))


def test_S16_a_deployment_with_a_command(cluster: Cluster) -> None:
    cluster.kubectl.ok("apply", "-f", str(SHARED / "k8s-shim-deployment.yaml"))
    until(lambda: "duizhang" in cluster.kubectl("logs", "deployment/wasmtime").stdout, MINUTE)
    cluster.kubectl.ok("delete", "deployment", "wasmtime")


def test_S16_any_binary_is_known_by_its_content(cluster: Cluster) -> None:
    cluster.kubectl.ok("apply", "-f", str(SHARED / "k8s-shim-any-binary-deployment.yaml"))
    until(lambda: "Hello, World!" in cluster.kubectl("logs", "deployment/hello-wasm").stdout, MINUTE)
    reasons = "jsonpath={.items[*].status.containerStatuses[*]..reason}"
    until(lambda: "Completed" in cluster.kubectl("get", "pods", "-l", "app=hello-wasm", "-o", reasons).stdout)
    cluster.kubectl.ok("delete", "deployment", "hello-wasm")


def test_logs_are_followed_and_kept(cluster: Cluster) -> None:
    cluster.apply(pod("ticks", tool("tick", "100000", "100")))
    ready(cluster, "ticks")
    cluster.background("follower", "logs", "-f", "ticks")
    seen = until(lambda: len(cluster.log("follower").splitlines()) > 2 and cluster.log("follower"))
    until(lambda: len(cluster.log("follower")) > len(seen))
    cluster.end("follower")
    assert len(cluster.kubectl.ok("logs", "--tail=2", "ticks").splitlines()) == 2
    stamped = cluster.kubectl.ok("logs", "--tail=1", "--timestamps", "ticks")
    assert stamped.startswith("20")
    cluster.kubectl.ok("delete", "pod", "ticks")


def test_both_streams_are_logged(cluster: Cluster) -> None:
    cluster.apply(pod("errors", tool("stderr", "on the other stream"), restartPolicy="Never"))
    assert ended(cluster, "errors")["exitCode"] == 0
    assert cluster.kubectl.ok("logs", "errors") == "on the other stream\n"
    cluster.kubectl.ok("delete", "pod", "errors")


def test_exec_runs_another_program_of_the_image(cluster: Cluster) -> None:
    cluster.apply(pod("server", container(WEB)))
    ready(cluster, "server")
    assert cluster.kubectl.ok("exec", "server", "--", TOOL, "echo", "ahoy") == "ahoy\n"
    assert cluster.kubectl.ok("exec", "-i", "server", "--", TOOL, "stdin", stdin="through\n") == "through\n"
    done = cluster.kubectl("exec", "server", "--", TOOL, "exit", "7")
    assert done.returncode == 7
    done = cluster.kubectl("exec", "server", "--", TOOL, "stderr", "aside")
    assert (done.stdout, done.stderr) == ("", "aside\n")
    done = cluster.kubectl("exec", "server", "--", "/none.wasm")
    assert done.returncode != 0 and "none.wasm" in done.stderr
    cluster.kubectl.ok("delete", "pod", "server")


def test_attach_shows_what_comes(cluster: Cluster) -> None:
    cluster.apply(pod("attached", tool("tick", "100000", "100")))
    ready(cluster, "attached")
    cluster.background("attacher", "attach", "attached")
    until(lambda: len(cluster.log("attacher").splitlines()) > 3)
    cluster.end("attacher")
    cluster.kubectl.ok("delete", "pod", "attached")


@pytest.mark.parametrize("handler, image, port, answer", [("wasm", WEB, 8080, HELLO), ("", NGINX, 80, LINUX)])
def test_ports_are_forwarded(cluster: Cluster, handler: str, image: str, port: int, answer: str) -> None:
    cluster.apply(pod("forwarded", container(image), handler=handler))
    ready(cluster, "forwarded")
    cluster.background("forwarder", "port-forward", "pod/forwarded", f"18080:{port}")
    for _ in range(3):
        assert serves(lambda: cluster.fetch("http://127.0.0.1:18080/")) == answer
    cluster.end("forwarder")
    cluster.kubectl.ok("delete", "pod", "forwarded")


def test_the_kubelet_tells_what_pods_use(cluster: Cluster) -> None:
    """What `kubectl top` shows is read from there, by the metrics server."""
    cluster.apply(pod("used", container(WEB)))
    ready(cluster, "used")

    def usage() -> dict[str, float]:
        lines = cluster.kubectl.ok("get", "--raw", "/api/v1/nodes/sampan-node/proxy/metrics/resource")
        label = 'container="main",namespace="default",pod="used"'
        words = [line.split() for line in lines.splitlines() if label in line]
        return {word[0].partition("{")[0]: float(word[1]) for word in words}

    until(lambda: usage().get("container_memory_working_set_bytes", 0) > 0, MINUTE)
    assert usage()["container_cpu_usage_seconds_total"] > 0
    raw = cluster.kubectl.ok("get", "--raw", "/api/v1/nodes/sampan-node/proxy/stats/summary")
    stats = next(item for item in json.loads(raw)["pods"] if item["podRef"]["name"] == "used")
    assert stats["containers"][0]["memory"]["workingSetBytes"] > 0
    cluster.kubectl.ok("delete", "pod", "used")


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"port": 8080, "path": "/"}},
        {"tcpSocket": {"port": 8080}},
        {"exec": {"command": [TOOL, "echo", "well"]}},
    ],
    ids=["http", "tcp", "exec"],
)
def test_probes_find_a_container_ready(cluster: Cluster, probe: dict[str, Any]) -> None:
    probes = {"readinessProbe": {**probe, "periodSeconds": 1}, "livenessProbe": {**probe, "periodSeconds": 1}}
    cluster.apply(pod("probed", container(WEB, **probes)))
    assert ready(cluster, "probed")["status"]["containerStatuses"][0]["ready"]
    cluster.kubectl.ok("delete", "pod", "probed")


def test_a_failing_probe_restarts_the_container(cluster: Cluster) -> None:
    probe = {"exec": {"command": [TOOL, "exit", "1"]}, "periodSeconds": 1, "failureThreshold": 1}
    cluster.apply(pod("unwell", container(WEB, livenessProbe=probe), terminationGracePeriodSeconds=1))
    until(lambda: state(cluster, "unwell")["restartCount"] > 0, MINUTE)
    cluster.kubectl.ok("delete", "pod", "unwell")


def test_volumes_of_all_kinds_are_read(cluster: Cluster) -> None:
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": "configured"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"key": "hidden"}},
        pod(
            "volumes",
            container(
                WEB,
                volumeMounts=[
                    {"name": "settings", "mountPath": "/etc/settings"},
                    {"name": "secret", "mountPath": "/etc/secret", "readOnly": True},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
                env=[
                    {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}},
                    {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
            ),
            volumes=[
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "secret", "secret": {"secretName": "secret"}},
                {"name": "scratch", "emptyDir": {}},
            ],
        ),
    )  # fmt: skip
    address = ready(cluster, "volumes")["status"]["podIP"]

    def run(*words: str) -> str:
        return cluster.kubectl.ok("exec", "volumes", "--", TOOL, *words)

    assert run("cat", "/etc/settings/key") == "configured"
    assert run("cat", "/etc/secret/key") == "hidden"
    assert run("cat", "/var/run/secrets/kubernetes.io/serviceaccount/namespace") == "default"
    assert run("cat", "/var/run/secrets/kubernetes.io/serviceaccount/token").count(".") == 2
    run("write", "/scratch/file", "kept")
    assert run("cat", "/scratch/file").strip() == "kept"
    assert "nameserver 10.96.0.10" in run("cat", "/etc/resolv.conf")
    assert f"{address}\tvolumes" in run("cat", "/etc/hosts")
    environment = run("env").splitlines()
    assert {"KEY=configured", f"ADDRESS={address}", "HOSTNAME=volumes"} <= set(environment)
    assert cluster.kubectl("exec", "volumes", "--", TOOL, "write", "/etc/secret/key", "no").returncode != 0
    cluster.kubectl.ok("delete", "pod", "volumes")


def test_a_pod_on_the_network_of_its_node(cluster: Cluster) -> None:
    cluster.apply(pod("host", container(WEB), hostNetwork=True))
    assert ready(cluster, "host")["status"]["podIP"] == ADDRESS
    assert serves(lambda: cluster.fetch("http://127.0.0.1:8080/")) == HELLO
    cluster.kubectl.ok("delete", "pod", "host")


def test_a_port_of_the_node_leads_to_a_pod(cluster: Cluster) -> None:
    cluster.apply(pod("published", container(WEB, ports=[{"containerPort": 8080, "hostPort": 30080}])))
    ready(cluster, "published")
    assert serves(lambda: cluster.fetch(f"http://{ADDRESS}:30080/")) == HELLO
    cluster.kubectl.ok("delete", "pod", "published")
    assert cluster.fetch(f"http://{ADDRESS}:30080/") == ""


def test_what_the_security_context_forbids(cluster: Cluster) -> None:
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    context = {"securityContext": {"readOnlyRootFilesystem": True, "runAsUser": 1000, "runAsNonRoot": True}}
    cluster.apply(
        pod(
            "strict",
            container(WEB, **mounts, **context),
            securityContext={"fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
            volumes=[{"name": "scratch", "emptyDir": {}}],
        )
    )
    ready(cluster, "strict")

    def write(path: str) -> bool:
        return cluster.kubectl("exec", "strict", "--", TOOL, "write", path, "x").returncode == 0

    assert write("/scratch/file") and not write("/file")
    cluster.kubectl.ok("delete", "pod", "strict")


def test_hooks_run_at_the_start_and_before_the_end(cluster: Cluster) -> None:
    def note(text: str) -> dict[str, Any]:
        return {"exec": {"command": [TOOL, "write", f"/notes/{text}", text]}}

    mount = {"volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}
    hooks = {"lifecycle": {"postStart": note("begun"), "preStop": note("ending")}}
    cluster.apply(
        pod(
            "hooked",
            container(WEB, **mount, **hooks),
            tool("tick", "100000", "1000", name="other", **mount),
            volumes=[
                {
                    "name": "notes",
                    "hostPath": {"path": str(cluster.folder / "notes"), "type": "DirectoryOrCreate"},
                }
            ],
        )
    )
    ready(cluster, "hooked")
    notes = cluster.folder / "notes"
    assert [path.name for path in notes.iterdir()] == ["begun"]
    cluster.kubectl.ok("delete", "pod", "hooked")
    assert sorted(path.name for path in notes.iterdir()) == ["begun", "ending"]


def test_a_pod_of_ours_is_looked_at_with_linux_tools(cluster: Cluster) -> None:
    """`kubectl debug`: a Linux container joins a pod that runs."""
    cluster.apply(pod("odd", container(WEB)))
    ready(cluster, "odd")
    words = ("--", *BUSYBOX, "wget", "-qO-", "127.0.0.1:8080")
    cluster.kubectl.ok(
        "debug", "odd", f"--image={NGINX}", "--image-pull-policy=IfNotPresent", "-c", "doctor", *words
    )
    assert until(lambda: cluster.kubectl("logs", "odd", "-c", "doctor").stdout, MINUTE) == HELLO
    cluster.kubectl.ok("delete", "pod", "odd")


def test_a_container_that_fails_is_started_again_ever_later(cluster: Cluster) -> None:
    cluster.apply(pod("fails", tool("exit", "3")))
    until(lambda: state(cluster, "fails")["restartCount"] > 1, 2 * MINUTE)
    found = until(lambda: (s := state(cluster, "fails"))["state"].get("waiting") and s, MINUTE)
    assert found["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (found["lastState"]["terminated"]["exitCode"], found["lastState"]["terminated"]["reason"]) == (
        3,
        "Error",
    )
    cluster.kubectl.ok("delete", "pod", "fails")


def test_a_container_over_its_memory_limit_was_OOMKilled(cluster: Cluster) -> None:
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    cluster.apply(pod("greedy", tool("grow", "4000", **limits), restartPolicy="Never"))
    end = ended(cluster, "greedy")
    assert (end["exitCode"], end["reason"]) == (137, "OOMKilled")
    cluster.kubectl.ok("delete", "pod", "greedy")


def test_init_containers_go_first(cluster: Cluster) -> None:
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    cluster.apply(
        pod(
            "steps",
            tool("cat", "/shared/file", **mount),
            initContainers=[tool("write", "/shared/file", "written before", name="first", **mount)],
            volumes=[{"name": "shared", "emptyDir": {}}],
            restartPolicy="Never",
        )
    )
    assert ended(cluster, "steps")["exitCode"] == 0
    assert cluster.kubectl.ok("logs", "steps").strip() == "written before"
    cluster.kubectl.ok("delete", "pod", "steps")


def test_many_pods_at_once(cluster: Cluster) -> None:
    template = pod("many", container(WEB))
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "many"},
            "spec": {
                "replicas": 20,
                "selector": {"matchLabels": {"app": "many"}},
                "template": {"metadata": template["metadata"] | {"name": None}, "spec": template["spec"]},
            },
        }
    )
    done = cluster.kubectl("rollout", "status", "deployment/many", "--timeout=80s")
    assert done.returncode == 0, cluster.kubectl("get", "events").stdout[-3000:]
    restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    assert cluster.kubectl.ok("get", "pods", "-l", "app=many", "-o", restarts).split() == ["0"] * 20
    cluster.kubectl.ok("delete", "deployment", "many")


def test_a_pod_that_hears_nothing_ends_in_its_grace_period(cluster: Cluster) -> None:
    cluster.apply(pod("deaf", tool("loop"), terminationGracePeriodSeconds=2))
    ready(cluster, "deaf")
    cluster.kubectl.ok("delete", "pod", "deaf", "--timeout=60s")
    assert cluster.get("pod", "deaf") == {}


def test_an_image_that_is_not_there_is_said(cluster: Cluster) -> None:
    cluster.apply(pod("absent", container("docker.io/duizhang/none:1")))
    waiting = until(lambda: state(cluster, "absent")["state"].get("waiting", {}).get("message"), MINUTE)
    until(lambda: "Image" in state(cluster, "absent")["state"]["waiting"]["reason"], MINUTE)
    assert "none:1" in state(cluster, "absent")["state"]["waiting"]["message"], waiting
    cluster.kubectl.ok("delete", "pod", "absent")


def test_pods_go_on_while_our_server_is_killed(cluster: Cluster) -> None:
    cluster.apply(pod("lasts", container(WEB)), pod("linux-lasts", container(NGINX), handler=""))
    addresses = {name: ready(cluster, name)["status"]["podIP"] for name in ("lasts", "linux-lasts")}
    cluster.kill("sampan")
    assert cluster.fetch(f"http://{addresses['lasts']}:8080/") == HELLO
    cluster.begin_sampan()
    assert until(lambda: cluster.kubectl("exec", "lasts", "--", TOOL, "echo", "back").stdout) == "back\n"
    ready(cluster, "linux-lasts")
    assert [state(cluster, name)["restartCount"] for name in addresses] == [0, 0]
    assert [cluster.get("pod", name)["status"]["podIP"] for name in addresses] == list(addresses.values())
    cluster.kubectl.ok("delete", "pod", "lasts", "linux-lasts")


def test_containerd_is_away_for_a_while(cluster: Cluster) -> None:
    """Pods of ours start meanwhile; those of containerd are, when it is back, what they were."""
    cluster.apply(pod("theirs", container(NGINX), handler=""))
    address = ready(cluster, "theirs")["status"]["podIP"]
    before = state(cluster, "theirs")
    cluster.kill("containerd")
    try:
        cluster.apply(pod("alone", container(WEB)))
        ready(cluster, "alone")
        assert cluster.fetch(f"http://{address}/") == LINUX
    finally:
        cluster.begin_containerd()
    assert until(lambda: cluster.kubectl("exec", "theirs", "--", *BUSYBOX, "echo", "back").stdout) == "back\n"
    cluster.apply(pod("next", container(NGINX), handler=""))
    ready(cluster, "next")
    after = state(cluster, "theirs")
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    cluster.kubectl.ok("delete", "pod", "alone", "theirs", "next")
