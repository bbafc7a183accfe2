"""S6, and S15's shape, with `sampan-oci` typed by hand."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import free_port, needs, until

from .conftest import SERVER, Peers, Tool, answer

pytestmark = needs("runc", "busybox", "nsenter", "unshare")
CONFIG = Path(__file__).with_name("lowlevel-config.json")


@pytest.fixture
def first_process() -> Iterator[int]:
    """The first process of a pid namespace of its own: there, /proc/1 is a process whose namespaces may be joined."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sleep", "100000"]
    with subprocess.Popen(command) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: _runs_sleep(children))
        yield int(children.read_text())
        process.kill()  # its child goes with it


def _runs_sleep(children: Path) -> bool:
    pid = children.read_text().strip()
    return bool(pid) and Path(f"/proc/{pid}/comm").read_text() == "sleep\n"


@pytest.fixture
def oci(peers: Peers) -> Iterator[Tool]:
    oci = Tool([str(peers.runtime), "--root", f"{peers.folder}/state"], {})
    yield oci
    for container in oci.ok("list", "-q").split():
        oci.ok("delete", "-f", container)


def listed(oci: Tool) -> dict[str, str]:
    """Id -> status of all containers."""
    return {state["id"]: state["status"] for state in json.loads(oci.ok("list", "-f", "json")) or []}


def test_S6_the_document_as_it_is(peers: Peers, tmp_path: Path, first_process: int) -> None:
    (tmp_path / "rootfs").mkdir()
    shutil.copy(SERVER, tmp_path / "rootfs/http-server.wasm")
    document = json.loads(CONFIG.read_text())
    port = free_port()  # another than 8080, which a test must not take on the host's network
    document["process"]["env"].append(f"PORT={port}")
    (tmp_path / "config.json").write_text(json.dumps(document))
    there = ["nsenter", "--target", str(first_process), "--pid", "--mount", f"--wd={tmp_path}"]
    oci = Tool([*there, str(peers.runtime), "--root", f"{peers.folder}/s6"], {})
    name = f"{peers.name}-s6"
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*oci.command, "run", "--keep", name], env=oci.env, stdin=slave, stdout=slave, stderr=slave
    ) as run:
        os.close(slave)
        assert until(lambda: answer(port)) == "Hello, World!\n"
        assert os.read(master, 1024) == f"listening on port {port}\r\n".encode()
        assert listed(oci) == {name: "running"}
        oci.ok("kill", name, "SIGKILL")
        assert run.wait(60) == 137
    os.close(master)
    assert listed(oci) == {name: "stopped"}
    oci.ok("delete", name)
    assert listed(oci) == {}
    assert answer(port) == ""


def test_S6_the_document_that_spec_writes(oci: Tool, peers: Peers, tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    shutil.copy(SERVER, tmp_path / "rootfs/http-server.wasm")
    oci.ok("spec", "--bundle", str(tmp_path))
    port = free_port()

    def change(document: dict[str, Any]) -> None:
        document["process"].update(args=["/http-server.wasm"], terminal=False)
        document["process"]["env"].append(f"PORT={port}")
        document["annotations"] = {"module.wasm.image/variant": "compat"}
        for namespace in document["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/proc/{os.getpid()}/ns/net"

    edit(tmp_path, change)
    name = f"{peers.name}-spec"
    run = oci.start("run", "--bundle", str(tmp_path), name)
    assert until(lambda: answer(port)) == "Hello, World!\n"
    oci.ok("kill", name, "SIGKILL")
    assert run.communicate(timeout=60)[0] == f"listening on port {port}\n"
    assert run.returncode == 137
    assert listed(oci) == {}


def test_S15_a_wasm_and_a_linux_container_share_a_network(oci: Tool, peers: Peers, tmp_path: Path) -> None:
    pause = bundle(oci, tmp_path / "pause", ["/bin/busybox", "sleep", "100000"])
    names = {what: f"{peers.name}-{what}" for what in ("pause", "web", "client")}
    start_detached(oci, pause, names["pause"])
    pid = json.loads(oci.ok("state", names["pause"]))["pid"]

    def join(document: dict[str, Any]) -> None:
        for namespace in document["linux"]["namespaces"]:
            if namespace["type"] in ("network", "ipc", "uts"):
                namespace["path"] = f"/proc/{pid}/ns/{namespace['type'].replace('network', 'net')}"

    web = bundle(oci, tmp_path / "web", ["/http-server.wasm"])
    edit(web, join)
    start_detached(oci, web, names["web"])
    wget = ["/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
    client = bundle(oci, tmp_path / "client", wget)
    edit(client, join)
    assert until(lambda: oci("run", "-b", str(client), names["client"]).stdout) == "Hello, World!\n"
    kept = subprocess.run(
        ["runc", "--root", f"{peers.folder}/state", "state", names["pause"]], capture_output=True, text=True
    )
    assert json.loads(kept.stdout)["status"] == "running"
    assert listed(oci) == {names["pause"]: "running", names["web"]: "running"}
    for what in ("web", "pause"):
        oci.ok("kill", names[what], "SIGKILL")
        until(lambda what=what: listed(oci)[names[what]] == "stopped")
        oci.ok("delete", names[what])
    assert listed(oci) == {}


def bundle(oci: Tool, folder: Path, args: list[str]) -> Path:
    """A bundle of `spec`'s document with the server and a busybox in it."""
    (folder / "rootfs/bin").mkdir(parents=True)
    shutil.copy(SERVER, folder / "rootfs/http-server.wasm")
    shutil.copy(shutil.which("busybox") or "", folder / "rootfs/bin/busybox")
    oci.ok("spec", "--bundle", str(folder))
    edit(folder, lambda document: document["process"].update(args=args, terminal=False))
    return folder


def edit(folder: Path, change: Any) -> None:
    """Changes a bundle's document."""
    document = json.loads((folder / "config.json").read_text())
    change(document)
    (folder / "config.json").write_text(json.dumps(document))


def start_detached(oci: Tool, folder: Path, name: str) -> None:
    """Runs a container whose output nobody reads."""
    null = subprocess.DEVNULL
    command = [*oci.command, "run", "--detach", "--bundle", str(folder), name]
    assert subprocess.run(command, env=oci.env, stdin=null, stdout=null, stderr=null).returncode == 0
