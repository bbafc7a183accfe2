"""Pods as manifests have them, on a cluster of the tests, and what becomes of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.scenarios.conftest import until
from tests.scenarios.shim.pods.node import DEMO
from tests.scenarios.shim.pods.node import TOOL as DEMO_TOOL

from .cluster import Cluster
from .images import images

TOOL = "/toolbox.wasm"  # beside the server, in its image
HELLO, LINUX = "Hello, World!\n", "from Linux\n"
MINUTE = 60


@contextmanager
def running(archives: Path, containerd: Path | None = None, gates: tuple[str, ...] = ()) -> Iterator[Cluster]:
    """A cluster with the images and RuntimeClasses of these scenarios; at its end nothing may be left of its pods.

    Args:
        archives: a folder for the images. containerd, gates: as for `Cluster`.
    """
    folder = Path(f"/tmp/k8s-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    cluster = Cluster(folder, containerd, gates)
    try:
        cluster.start(images(archives))
        cluster.apply(*map(runtime_class, ("wasm", "wasmtime")))
        yield cluster
        cluster.kubectl.ok("delete", "jobs,deployments,pods", "--all", "--wait=true")
        until(lambda: not cluster.left(), 3 * MINUTE)  # a kubelet removes sandboxes once a minute
    finally:
        left = cluster.left()
        cluster.close()
    assert left == []


def runtime_class(handler: str) -> dict[str, Any]:
    metadata = {"name": handler}
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": metadata, "handler": handler}


def container(image: str, *args: str, name: str = "main", **content: Any) -> dict[str, Any]:
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "args": list(args), **content}


def pod(name: str, *containers: dict[str, Any], handler: str = "wasm", **spec: Any) -> dict[str, Any]:
    """A pod of ours, or with an empty handler a Linux one."""
    chosen = {"runtimeClassName": handler} if handler else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 1, **chosen, **spec},
    }


def tool(*args: str, **content: Any) -> dict[str, Any]:
    """A container of the image with the many small commands."""
    return container(DEMO, *args, command=list(DEMO_TOOL), **content)


def ready(cluster: Cluster, name: str) -> dict[str, Any]:
    """A pod once it is ready; says what became of it where it is not."""
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"pod/{name}")
    found = cluster.get("pod", name)
    conditions = {item["type"]: item["status"] for item in found["status"].get("conditions", ())}
    assert conditions["Ready"] == "True", cluster.kubectl("describe", "pod", name).stdout
    return found


def state(cluster: Cluster, name: str, container: str = "main") -> dict[str, Any]:
    """The status of a container of a pod."""
    statuses = cluster.get("pod", name)["status"].get("containerStatuses", ())
    return next(
        (status for status in statuses if status["name"] == container), {"state": {}, "restartCount": 0}
    )


def ended(cluster: Cluster, name: str) -> dict[str, Any]:
    """How the container of a pod that runs once has ended."""

    def terminated() -> Any:
        return state(cluster, name)["state"].get("terminated")

    return dict(until(terminated, MINUTE))


def serves(fetch: Callable[[], str]) -> str:
    return str(until(fetch, MINUTE))
