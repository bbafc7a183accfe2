"""One server for a pod, its sandbox without a pause image, and Wasm and Linux beside each other in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from sampan.doors.shim import messages
from tests.scenarios.conftest import needs

from .conftest import Client, Shim

KIND, SANDBOX = "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"


def in_pod(pod: str, kind: str = "container", **namespaces: str) -> Any:
    """A change of a bundle's document: it belongs to a pod, and joins these namespaces of it."""

    def change(document: dict[str, Any]) -> None:
        document["annotations"] = {KIND: kind, SANDBOX: pod}
        for namespace in document["linux"]["namespaces"]:
            if namespace["type"] in namespaces:
                namespace["path"] = namespaces[namespace["type"]]

    return change


@pytest.fixture
def pod(shim: Shim) -> tuple[Client, str, int]:
    """A running sandbox: its client, its id, its pid."""
    name = shim.new_id()
    bundle = shim.bundle("/pause", change=in_pod(name, "sandbox"))
    client = shim.connect(shim.start(name, bundle))
    pid = client.create(name, bundle)
    assert client.start(name) == pid
    return client, name, pid


def test_a_sandbox_holds_namespaces_and_runs_nothing(shim: Shim, pod: tuple[Client, str, int]) -> None:
    client, name, pid = pod
    for kind in ("net", "ipc", "uts", "pid", "mnt"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    assert (Path(f"/proc/{pid}/root") / "app.wasm").exists()
    assert Path(f"/proc/{pid}/status").read_text().count("Seccomp:\t2") == 1
    client.kill(name, 15)
    assert client.wait(name).exit_status == 143
    client.delete(name)


def test_the_containers_of_a_pod_share_its_server_and_its_namespaces(
    shim: Shim, pod: tuple[Client, str, int]
) -> None:
    client, sandbox, pid = pod
    paths = {"network": f"/proc/{pid}/ns/net", "ipc": f"/proc/{pid}/ns/ipc", "uts": f"/proc/{pid}/ns/uts"}
    name = shim.new_id()
    bundle = shim.bundle(change=in_pod(sandbox, **paths))
    address = shim.start(name, bundle)
    assert shim.server_pid(shim.connect(address)) == shim.server_pid(client)
    own = client.create(name, bundle)
    client.start(name)
    for kind in ("net", "ipc", "uts"):
        assert os.readlink(f"/proc/{own}/ns/{kind}") == os.readlink(f"/proc/{pid}/ns/{kind}")
    client.call("Shutdown", messages.ShutdownRequest(name))
    assert client.end(name).exit_status == 137
    assert client.state(sandbox).status == messages.RUNNING


@needs("runc", "busybox")
def test_S15_a_linux_container_runs_in_the_same_pod(shim: Shim, pod: tuple[Client, str, int]) -> None:
    client, sandbox, pid = pod
    name = shim.new_id()
    bundle = shim.bundle("/bin/sh", "-c", "exit 6", change=in_pod(sandbox, network=f"/proc/{pid}/ns/net"))
    (bundle / "rootfs" / "bin").mkdir()
    shutil.copy(shutil.which("busybox") or "/bin/busybox", bundle / "rootfs" / "bin" / "sh")
    assert shim.start(name, bundle) == (bundle / "address").read_text()
    own = client.create(name, bundle)
    assert os.readlink(f"/proc/{own}/ns/net") == os.readlink(f"/proc/{pid}/ns/net")
    assert client.start(name) == own
    assert client.wait(name).exit_status == 6
    assert client.delete(name).exit_status == 6


def test_names_are_unique_within_a_namespace_and_a_runtime_only(shim: Shim) -> None:
    bundles = [shim.bundle() for _ in range(3)]
    name = shim.new_id()
    places = ({}, {"namespace": "other"}, {"runtime": "wasmedge"})
    addresses = [shim.start(name, bundle, **place) for bundle, place in zip(bundles, places, strict=True)]
    assert len(set(addresses)) == 3
    for address, bundle in zip(addresses, bundles, strict=True):
        client = shim.connect(address)
        client.create(name, bundle)
        client.start(name)
    for address in addresses:
        client = shim.connect(address)
        client.end(name)
        client.call("Shutdown", messages.ShutdownRequest(name))


def test_starts_at_once_make_one_server(shim: Shim) -> None:
    pod = shim.new_id()
    names = [shim.new_id() for _ in range(6)]
    bundles = [shim.bundle(change=in_pod(pod)) for _ in names]
    threads = [threading.Thread(target=shim.start, args=pair) for pair in zip(names, bundles, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clients = [shim.connect((bundle / "address").read_text()) for bundle in bundles]
    assert len({shim.server_pid(client) for client in clients}) == 1
    for client, name, bundle in zip(clients, names, bundles, strict=True):
        client.create(name, bundle)
    for client, name in zip(clients, names, strict=True):
        client.delete(name)


def test_a_server_stays_for_a_task_that_is_about_to_come(shim: Shim) -> None:
    pod, first, second = shim.new_id(), shim.new_id(), shim.new_id()
    one, other = (shim.bundle(change=in_pod(pod)) for _ in range(2))
    client = shim.connect(shim.start(first, one))
    client.create(first, one)
    shim.start(second, other)
    client.delete(first)
    client.call("Shutdown", messages.ShutdownRequest(first))
    client = shim.connect((other / "address").read_text())
    client.create(second, other)
    client.delete(second)
    client.call("Shutdown", messages.ShutdownRequest(second))


def test_the_newer_containerd_gets_a_document(shim: Shim) -> None:
    bundle, name = shim.bundle(), shim.new_id()
    command = shim.command(name, "start")
    shim.bundles[name] = bundle
    done = subprocess.run(
        command,
        cwd=bundle,
        env={**shim.env, "MAX_SHIM_VERSION": "2"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    address = (bundle / "address").read_text()
    assert done.stdout.decode() == f'{{"version":3,"address":"{address}","protocol":"ttrpc"}}'


def test_what_start_refuses_is_one_sentence(shim: Shim) -> None:
    bundle = shim.bundle()
    (bundle / "config.json").unlink()
    done = shim("x", bundle, "start")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1 and b"config.json not found" in done.stderr
