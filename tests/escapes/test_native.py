"""What native code tries in the process of a container of `sampan-oci`, as if the engine had fallen: nothing succeeds.

The host looks, too: the processes that were to be harmed live, and what was to be changed has not changed (T4).
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..oci.conftest import Runtime
from .places import GUESTS, Places, verdicts

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="the image has device nodes, which root alone can make"
)

LAUNCHER = Path(__file__).with_name("native_oci.py")
SCENARIOS = (
    "root",
    "a-user",
    "a-user-namespace",
    "a-user-namespace-of-root",
    "the-hosts-processes",
    "a-joined-network",
)
LIES = [
    "another folder", "a file", "no namespaces", "one namespace less", "namespaces in another order",
    "files for namespaces", "flags as text", "flags that are lists", "a document of flags", "one flag twice",
    "no descriptors", "a number", "null", "an error", "nesting", "noise",
]  # fmt: skip
CAPABILITIES = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_MKNOD",
    "CAP_SETUID",
    "CAP_NET_RAW",
    "CAP_KILL",
    "CAP_CHOWN",
]


class NativeRuntime(Runtime):
    """`sampan-oci` that runs native code in the workload's place."""

    def command(self, *words: str) -> list[str]:
        _, isolated, no_site, _, *rest = super().command(*words)
        return [sys.executable, isolated, no_site, str(LAUNCHER), *rest]


class Host:
    """What native code would like to reach.

    Attributes:
        victims: a process of the host, one of another container, and their parent.
        port: of a TCP server. abstract: the name of a server on an abstract UNIX socket.
    """

    def __init__(self, oci: Runtime) -> None:
        self._process = subprocess.Popen(["sleep", "100000"])
        self._other = oci.running()
        self._oci = oci
        self.victims = [self._process.pid, oci.state(self._other)["pid"], os.getpid()]
        self._server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self._server.setblocking(False)
        self.port = self._server.getsockname()[1]
        self.abstract = f"sampan-escapes-{os.getpid()}"
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(f"\0{self.abstract}")
        self._unix.listen()
        self._unix.setblocking(False)
        self._before = self._look()

    def _look(self) -> tuple[object, ...]:
        files = [
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostname",
            f"/proc/{self._process.pid}/limits",
        ]
        return os.uname().nodename, *(Path(path).read_text() for path in files)

    def assert_unharmed(self) -> None:
        assert self._process.poll() is None
        assert self._oci.state(self._other)["status"] == "running"
        assert self._look() == self._before
        for server in (self._server, self._unix):
            with pytest.raises(BlockingIOError):
                server.accept()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._server.close()
        self._unix.close()


@pytest.fixture
def native(oci: Runtime, tmp_path: Path, shared_code: Path) -> NativeRuntime:
    """A second runtime on the same state root."""
    (tmp_path / "native").mkdir()
    runtime = NativeRuntime(tmp_path / "native", shared_code)
    runtime.root = oci.root
    return runtime


@pytest.fixture
def host(oci: Runtime) -> Iterator[Host]:
    host = Host(oci)
    yield host
    host.close()


@pytest.fixture
def joined_network() -> Iterator[str]:
    """The path of a network namespace that somebody else made."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec sleep 100000"], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    yield f"/proc/{holder.pid}/ns/net"
    holder.kill()
    holder.wait()
    holder.stdout.close()


def bundle(runtime: Runtime, places: Places, *args: str, scenario: str = "root", network: str = "") -> Path:
    def change(document: dict[str, Any]) -> None:
        uid = 1000 if scenario == "a-user" else 0
        document["process"]["user"] = {"uid": uid, "gid": uid}
        document["process"]["capabilities"] = dict.fromkeys(
            ("bounding", "effective", "permitted"), CAPABILITIES
        )
        mapped = scenario.startswith("a-user-namespace")
        document["mounts"] += places.mounts(recursive=mapped)
        linux = document["linux"]
        linux["maskedPaths"] += ["/masked"]
        linux["readonlyPaths"] += ["/fixed"]
        kinds = {space["type"]: space for space in linux["namespaces"]}
        if mapped:
            ids = [
                {"containerID": 0, "hostID": 0 if scenario.endswith("of-root") else 200_000, "size": 65536}
            ]
            kinds["user"] = {"type": "user"}
            linux |= {"uidMappings": ids, "gidMappings": ids}
        if scenario == "the-hosts-processes":
            del kinds["pid"]
        if network:
            kinds["network"]["path"] = network
        linux["namespaces"] = list(kinds.values())

    shutil.copy(GUESTS / "files.wasm", places.rootfs / "guest.wasm")
    folder = runtime.bundle("/guest.wasm", *args, change=change)
    shutil.rmtree(folder / "rootfs")
    (folder / "rootfs").symlink_to(places.rootfs)
    places.rw.chmod(0o777)
    places.prepared()
    return folder


def wish(host: Host, places: Places) -> str:
    return json.dumps(
        {
            "outside": str(places.outside),
            "victims": host.victims,
            "port": host.port,
            "abstract": host.abstract,
        }
    )


def judge(output: str) -> None:
    found = verdicts(output)
    assert found["escaped"] == []
    assert found["end"] == [""], output[-2000:]
    assert len(found["refused"]) >= 400


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_that_native_code_tries_in_a_container_succeeds(
    native: NativeRuntime, places: Places, host: Host, joined_network: str, scenario: str
) -> None:
    network = joined_network if scenario == "a-joined-network" else ""
    if scenario == "the-hosts-processes":  # in a namespace of its own, that is the process itself
        host.victims.append(1)
    folder = bundle(native, places, "try", wish(host, places), scenario=scenario, network=network)
    master, terminal = pty.openpty()
    try:
        done = native.start("run", "-b", str(folder), native.new_id(), stdin=terminal)()
    finally:
        os.close(master)
        os.close(terminal)
    assert done.code == 0, (done.err, done.out[-2000:])
    judge(done.out)
    host.assert_unharmed()
    places.assert_untouched()


def test_nothing_that_native_code_tries_in_an_exec_succeeds(
    native: NativeRuntime, places: Places, host: Host
) -> None:
    container_id = native.new_id()
    native.ok("run", "-d", "-b", str(bundle(native, places, "sleep", "{}")), container_id)
    pid = native.state(container_id)["pid"]
    host.victims += [pid, 1]
    done = native("exec", container_id, "/guest.wasm", "try", wish(host, places))
    assert done.code == 0, (done.err, done.out[-2000:])
    judge(done.out)
    assert native.state(container_id) == {**native.state(container_id), "status": "running", "pid": pid}
    host.assert_unharmed()
    places.assert_untouched()


def test_the_process_has_nothing_open_that_leads_out(native: NativeRuntime, places: Places) -> None:
    container_id = native.new_id()
    native.ok("run", "-d", "-b", str(bundle(native, places, "sleep", "{}")), container_id)
    proc = Path(f"/proc/{native.state(container_id)['pid']}")
    status = dict(
        line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line
    )
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert all(int(status[f"Cap{kind}"], 16) == 0 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
    state = native.root / container_id
    for fd in (proc / "fd").iterdir():
        target = os.readlink(fd)
        if int(fd.name) < 3 or target.startswith(("pipe:", "socket:", "anon_inode:")):
            continue
        kind = target.split(":")[0]
        known = kind in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup") or target == "/"
        assert known or target.startswith(f"{state}/exit"), target


@pytest.mark.parametrize("how", LIES)
def test_a_container_that_lies_leads_no_exec_anywhere(
    oci: Runtime, native: NativeRuntime, places: Places, how: str
) -> None:
    container_id = lying(native, places, how)
    said = oci.refused("exec", container_id, "/guest.wasm", str(places.outside), code=255)
    assert "a fault of" not in said and "\x1b" not in said
    places.assert_untouched()


def test_a_container_that_says_nothing_does_not_keep_an_exec_waiting(
    oci: Runtime, native: NativeRuntime, places: Places
) -> None:
    container_id = lying(native, places, "silence")
    assert "does not answer" in oci.refused("exec", container_id, "/guest.wasm", code=255)


def lying(native: NativeRuntime, places: Places, how: str) -> str:
    """The id of a running container whose process has put its lie in place."""
    container_id = native.new_id()
    folder = bundle(native, places, "lie", json.dumps({"how": how}))
    out = folder / "out"
    with out.open("wb") as stream:
        command = native.command("run", "-d", "-b", str(folder), container_id)
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=native.env, timeout=60
        )
    while "ready" not in out.read_text():
        assert native.state(container_id)["status"] == "running", out.read_text()
        time.sleep(0.01)
    return container_id
