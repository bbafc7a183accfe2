"""Properties of Wasm bundles: seen by a guest inside (`examples/07-runtimetest`), and by the host from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TREE = Path(__file__).parents[2]
START = TREE / "src" / "sampan" / "doors" / "oci" / "__main__.py"
GUEST = TREE / "examples" / "07-runtimetest" / "runtimetest.wasm"
SECONDS = 30

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the bundles have no user namespace")

HOME = ("--env", "HOME=/")  # which the runtime adds, as runc does


class Bundle:
    """A bundle with the guest in it, and the commands on its one container."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.id = folder, f"runtimetest-{folder.name}"
        self.rootfs = folder / "rootfs"
        self.rootfs.mkdir()
        folder.chmod(0o755)
        shutil.copy(GUEST, self.rootfs)
        namespaces = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network")]
        self.process: dict[str, Any] = {"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": []}
        self.linux: dict[str, Any] = {"namespaces": namespaces}
        self.mounts: list[dict[str, Any]] = []
        self.spec: dict[str, Any] = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}}

    def expect(self, *args: str) -> None:
        """Writes config.json with a guest that checks `args`."""
        self.process.setdefault("args", ["/runtimetest.wasm", *HOME, *args])
        spec = self.spec | {"process": self.process, "linux": self.linux, "mounts": self.mounts}
        (self.folder / "config.json").write_text(json.dumps(spec))

    def oci(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-I", "-S", str(START), "--root", str(self.folder / "root"), *words]
        out, err = self.folder / "stdout", self.folder / "stderr"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            done = subprocess.run(command, input=stdin, stdout=stdout, stderr=stderr, timeout=SECONDS)
        return subprocess.CompletedProcess(command, done.returncode, out.read_bytes(), err.read_bytes())

    def check(self, *args: str, stdin: bytes = b"", code: int = 0) -> None:
        """Runs the guest; all that it checks must hold."""
        self.expect(*args)
        done = self.oci("run", "--bundle", str(self.folder), self.id, stdin=stdin)
        lines = done.stdout.decode().splitlines()
        bad = [line for line in lines if not line.startswith(("ok ", "1.."))]
        assert not bad and done.returncode == code, (bad, done.returncode, done.stderr)
        assert lines[-1] == f"1..{len(lines) - 1}"

    def stay(self, *args: str) -> Path:
        """Starts the guest in the background; its process's folder in /proc, when it has made its checks."""
        self.expect(*args, "--stay")
        pid_file = self.folder / "pid"
        done = self.oci("run", "-d", "--pid-file", str(pid_file), "--bundle", str(self.folder), self.id)
        assert done.returncode == 0, done.stderr
        end = time.monotonic() + SECONDS
        while b"\n1.." not in (shown := (self.folder / "stdout").read_bytes()):
            assert time.monotonic() < end, shown
            time.sleep(0.02)
        assert b"not ok" not in shown, shown
        return Path("/proc") / pid_file.read_text().strip()


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    bundle = Bundle(tmp_path)
    yield bundle
    bundle.oci("delete", "--force", bundle.id)
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def _plain(b: Bundle) -> list[str]:
    return ["--root", "rw"]


def _environment(b: Bundle) -> list[str]:
    args = ["--env", "A=b", "--env", "EMPTY=", "--env", "E=a=b c"]
    expected = "".join(f"{arg}\n" for arg in (*HOME, *args))
    b.process["env"] = ["A=b", "EMPTY=", "E=a=b c", f"EXPECTED_ARGS={expected}"]
    return args


def _read_only_root(b: Bundle) -> list[str]:
    b.spec["root"] = {"path": "rootfs", "readonly": True}
    return ["--root", "ro"]


def _mounts(b: Bundle) -> list[str]:
    source = b.folder / "volume"
    source.mkdir()
    (source / "file").write_text("text")
    for to, words in (("/ro", "ro"), ("/rw", "rw")):
        b.mounts.append(
            {"destination": to, "type": "bind", "source": str(source), "options": ["rbind", words]}
        )
    b.mounts.append(
        {"destination": "/one", "type": "bind", "source": str(source / "file"), "options": ["bind", "ro"]}
    )
    b.mounts.append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]})
    return ["--ro", "/ro", "--rw", "/rw", "--ro", "/one", "--file", "/one=text", "--tmpfs", "/tmp"]


def _hidden(b: Bundle) -> list[str]:
    for name in ("secret", "fixed"):
        (b.rootfs / name).mkdir()
        (b.rootfs / name / "file").write_text("text")
    b.linux |= {"maskedPaths": ["/secret", "/none"], "readonlyPaths": ["/fixed"]}
    return ["--masked", "/secret", "--masked", "/none", "--ro", "/fixed", "--file", "/fixed/file=text"]


def _kernel_mounts(b: Bundle) -> list[str]:
    b.mounts += [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
    ]
    return ["--root", "rw"]


def _links(b: Bundle) -> list[str]:
    (b.rootfs / "absolute").symlink_to("/etc/passwd")
    (b.rootfs / "upwards").symlink_to("../../../../../../etc/passwd")
    return ["--root", "rw", "--link", "/absolute", "--link", "/upwards"]


def _another_user(b: Bundle) -> list[str]:
    (b.rootfs / "private").write_text("text")
    (b.rootfs / "private").chmod(0o600)
    b.process["user"] = {"uid": 1234, "gid": 1234}
    return ["--denied", "/private"]


def _limits(b: Bundle) -> list[str]:
    b.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]
    return ["--nofile", "64"]


TABLE = [
    _plain,
    _environment,
    _read_only_root,
    _mounts,
    _hidden,
    _kernel_mounts,
    _links,
    _another_user,
    _limits,
]


@pytest.mark.parametrize("variant", TABLE, ids=lambda variant: variant.__name__.strip("_"))
def test_a_guest_sees_what_its_spec_says(bundle: Bundle, variant: Callable[[Bundle], list[str]]) -> None:
    bundle.check(*variant(bundle))
    written = list(bundle.folder.rglob("*-by-runtimetest"))
    assert not written


def test_standard_input_and_the_exit_code_are_the_guests(bundle: Bundle) -> None:
    bundle.check("--stdin", "from outside\n", "--exit", "42", stdin=b"from outside\n", code=42)


def _status(proc: Path) -> dict[str, str]:
    lines = (proc / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_process_is_what_its_spec_says(bundle: Bundle) -> None:
    bundle.process |= {
        "user": {"uid": 1234, "gid": 4321, "additionalGids": [5, 6]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
        "oomScoreAdj": 500,
        "noNewPrivileges": True,
    }
    proc = bundle.stay()
    status = _status(proc)
    assert status["Uid"].split() == ["1234"] * 4
    assert status["Gid"].split() == ["4321"] * 4
    assert set(status["Groups"].split()) - {"4321"} == {"5", "6"}
    assert [int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [0] * 5
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Umask"] == "0022"
    assert (proc / "oom_score_adj").read_text().strip() == "500"
    files = next(line for line in (proc / "limits").read_text().splitlines() if line.startswith("Max open"))
    assert files.split()[3:5] == ["100", "200"]


def test_namespaces_are_made_and_hold_the_specs_values(bundle: Bundle) -> None:
    bundle.spec["hostname"] = "wasm-host"
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    proc = bundle.stay()
    for name in ("mnt", "pid", "ipc", "uts", "net"):
        assert os.readlink(proc / "ns" / name) != os.readlink(f"/proc/self/ns/{name}"), name
    assert os.readlink(proc / "ns/user") == os.readlink("/proc/self/ns/user")
    enter = ["nsenter", "--target", proc.name]
    told = subprocess.run([*enter, "--uts", "hostname"], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "wasm-host"
    forward = [*enter, "--net", "cat", "/proc/sys/net/ipv4/ip_forward"]
    assert subprocess.run(forward, capture_output=True, text=True, check=True).stdout.strip() == "1"


def test_namespaces_are_joined_by_path(bundle: Bundle) -> None:
    with subprocess.Popen(["unshare", "--net", "--uts", "--ipc", "sleep", "60"]) as other:
        try:
            theirs = Path("/proc") / str(other.pid) / "ns"
            end = time.monotonic() + SECONDS
            while os.readlink(theirs / "uts") == os.readlink("/proc/self/ns/uts"):
                assert time.monotonic() < end
                time.sleep(0.01)
            kinds = {"network": "net", "uts": "uts", "ipc": "ipc"}
            joined = [{"type": kind, "path": str(theirs / name)} for kind, name in kinds.items()]
            bundle.linux["namespaces"] = [{"type": "mount"}, {"type": "pid"}, *joined]
            proc = bundle.stay()
            for name in kinds.values():
                assert os.readlink(proc / "ns" / name) == os.readlink(theirs / name), name
        finally:
            other.kill()


def test_the_cgroup_has_the_specs_path_and_limits(bundle: Bundle) -> None:
    path = f"/sampan-runtimetest-{os.getpid()}"
    resources = {"memory": {"limit": 256 << 20}, "pids": {"limit": 50}, "cpu": {"shares": 512}}
    bundle.linux |= {"cgroupsPath": path, "resources": resources}
    proc = bundle.stay()
    places = dict(line.split(":", 2)[1:] for line in (proc / "cgroup").read_text().splitlines())
    base = Path("/sys/fs/cgroup")
    if places.get("memory"):
        assert places["memory"] == places["pids"] == path
        assert (base / f"memory{path}/memory.limit_in_bytes").read_text().strip() == str(256 << 20)
        assert (base / f"pids{path}/pids.max").read_text().strip() == "50"
    else:
        assert places[""] == path
        assert (base / path[1:] / "memory.max").read_text().strip() == str(256 << 20)
        assert (base / path[1:] / "pids.max").read_text().strip() == "50"
    bundle.oci("delete", "--force", bundle.id)
    assert not list(base.glob(f"*{path}")) and not (base / path[1:]).exists()
