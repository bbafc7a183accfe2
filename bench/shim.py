"""The containerd shim beside containerd's own with runc: a hello, a hundred sleepers, starts in flight.

    python bench/shim.py

containerd is one of its own, on its own folders. The peer's programs are native and static. BIN names the folder with
the shim, as pip installed it; SLEEPERS how many sleepers there are at once; RUNWASI the program of runwasi's shim for
wasmtime, which runs the same images, where it was built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import native
from figures import ROUNDS, interleaved, memory_of, show

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.scenarios.oci.images import archive  # noqa: E402

BIN = os.environ.get("BIN") or str(Path(sys.executable).parent)
EXAMPLES = ROOT / "examples"
SLEEPERS = int(os.environ.get("SLEEPERS", "100"))
STARTS, AT_ONCE = 100, 8
OURS = ("containerd-shim", "sampan-", "p", "youki")
"""How the names of processes begin that belong to a runtime, its programs' among them."""
RUNTIMES = {"runc": "io.containerd.runc.v2", "sampan": "io.containerd.sampan.v1"}
if os.environ.get("RUNWASI"):
    RUNTIMES["runwasi"] = os.environ["RUNWASI"]


class Containerd:
    """A containerd in a folder, and `ctr` for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        address = f"{folder}/c"
        (folder / "config.toml").write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{address}"\n[ttrpc]\naddress = "{address}.t"\n[debug]\naddress = "{folder}/d"\n'
        )
        (folder / "data").mkdir(mode=0o700)
        roots = {"SAMPAN_ROOT": f"{folder}/data", "SAMPAN_RUN_ROOT": f"{folder}/run"}
        env = {**os.environ, **roots, "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.env = {
            **os.environ,
            "CONTAINERD_ADDRESS": address,
            "CONTAINERD_NAMESPACE": f"bench{os.getpid()}",
        }
        log = (folder / "log").open("wb")
        command = ["containerd", "--config", str(folder / "config.toml")]
        self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        while subprocess.run(["ctr", "version"], env=self.env, capture_output=True, check=False).returncode:
            time.sleep(0.05)

    def ctr(self, *words: str) -> str:
        return subprocess.run(
            ["ctr", *words],
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        ).stdout

    def begin(self, runtime: str, image: str, name: str, *args: str) -> None:
        self.ctr("run", "-d", "--runtime", RUNTIMES[runtime], image, name, *args)

    def end(self, name: str) -> None:
        self.ctr("task", "rm", "-f", name)
        self.ctr("container", "rm", name)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def main() -> None:
    if not native.is_there() or not shutil.which("containerd"):
        raise SystemExit("this needs root, containerd, runc and cc")
    with tempfile.TemporaryDirectory(dir="/run") as name:
        folder = Path(name)
        containerd = Containerd(folder)
        try:
            for image in images(folder):
                containerd.ctr("images", "import", str(image))
            hello(containerd)
            starts(containerd)
            memory(containerd)
        finally:
            containerd.close()


def images(folder: Path) -> list[Path]:
    """A hello and a sleeper, of each kind."""
    programs = {
        word: native.bundle(folder / f"native-{word}", source) / "rootfs/program"
        for word, source in (("hello", native.HELLO), ("sleep", native.SLEEPER))
    }
    hello, toolbox = EXAMPLES / "01-hello/hello.wasm", EXAMPLES / "05-toolbox/toolbox.wasm"
    found = {
        "runc-hello": ({"/p": programs["hello"]}, ["/p"]),
        "runc-sleep": ({"/p": programs["sleep"]}, ["/p"]),
        "sampan-hello": ({"/p": hello}, ["/p"]),
        "sampan-sleep": ({"/p": toolbox}, ["/p", "sleep", "100000"]),
    }
    return [
        archive(folder / name, f"localhost/{name}:1", files, mode=0o755, Cmd=command)
        for name, (files, command) in found.items()
    ]


def hello(containerd: Containerd) -> None:
    def run(runtime: str) -> float:
        begin = time.perf_counter()
        image = f"localhost/{_kind(runtime)}-hello:1"
        out = containerd.ctr("run", "--rm", "--runtime", RUNTIMES[runtime], image, f"h{time.time_ns()}")
        assert out.startswith("Hello, World!")
        return (time.perf_counter() - begin) * 1000

    show("ctr run --rm hello", interleaved({name: lambda name=name: run(name) for name in RUNTIMES}), "runc")


def starts(containerd: Containerd) -> None:
    """Containers begun a second, several in flight."""
    print(f"\nctr run -d, {STARTS} containers, {AT_ONCE} in flight")
    rates = {}
    for runtime in RUNTIMES:
        names = [f"s-{runtime}-{number}" for number in range(STARTS)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            begin = time.perf_counter()
            image = f"localhost/{_kind(runtime)}-sleep:1"
            list(pool.map(lambda name, r=runtime, i=image: containerd.begin(r, i, name), names))
            rates[runtime] = STARTS / (time.perf_counter() - begin)
            list(pool.map(containerd.end, names))
        print(f"  {runtime:12s} {rates[runtime]:8.1f} a second  {rates[runtime] / rates['runc']:6.2f} x runc")


def memory(containerd: Containerd) -> None:
    """PSS of all processes of a runtime, for each sleeping container."""
    print(f"\nmemory of {SLEEPERS} sleepers, shims and zygote included")
    figures = {}
    for runtime in RUNTIMES:
        names = [f"m-{runtime}-{number}" for number in range(SLEEPERS)]
        before = set(_pids())
        for name in names:
            containerd.begin(runtime, f"localhost/{_kind(runtime)}-sleep:1", name)
        time.sleep(1)
        pids = {pid for pid in set(_pids()) - before if _comm(pid).startswith(OURS)}
        pids |= {pid for pid in _pids() if runtime == "sampan" and _is_zygote(pid, containerd.folder)}
        figures[runtime] = sum(memory_of(pid)[1] for pid in pids) / SLEEPERS / 1024
        for name in names:
            containerd.end(name)
        share = figures[runtime] / figures["runc"]
        print(f"  {runtime:12s} {figures[runtime]:8.2f} MB a container  {share:6.2f} x runc")


def _kind(runtime: str) -> str:
    """Whose images a runtime runs."""
    return "runc" if runtime == "runc" else "sampan"


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _is_zygote(pid: int, folder: Path) -> bool:
    """Whether it is the zygote that this containerd's shims use."""
    try:
        return (
            _comm(pid) == "sampan-zygote"
            and f"{folder}/run".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        )
    except OSError:
        return False


if __name__ == "__main__":
    print(f"{ROUNDS} rounds")
    main()
