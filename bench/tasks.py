"""Full containers without containerd's own work: the shim's server asked directly, beside `runc run`.

    python bench/tasks.py

Each task is created, started, waited for and deleted, several in flight, all of one pod; the peer's program is native
and static, and run by as many runcs at once as is quickest. BIN names the folder with the shim, as pip installed it;
TASKS how many tasks the long run has, which also tells how long a start takes and whether the server grows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import native
from figures import memory_of

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]
from tests.shim.conftest import Client, Shim  # noqa: E402

from sampan.doors.shim import messages  # noqa: E402
from sampan.doors.shim.pod import SANDBOX_ID  # noqa: E402

BIN = os.environ.get("BIN") or str(Path(sys.executable).parent)
COUNT, AT_ONCE, ROUNDS = 200, 8, 3
TASKS = int(os.environ.get("TASKS", "1000"))


class Installed(Shim):
    """The shim that pip installed."""

    def command(self, task: str, *words: str, namespace: str = "bench", runtime: str = "sampan") -> list[str]:
        flags = ["-namespace", namespace, "-address", f"{self.folder}/c", "-publish-binary", "/bin/true"]
        return [f"{BIN}/containerd-shim-{runtime}-v1", *flags, "-id", task, *words]


def main() -> None:
    if not native.is_there():
        raise SystemExit("this needs root, runc and cc")
    with tempfile.TemporaryDirectory(dir="/run") as name:
        folder = Path(name)
        (folder / "data").mkdir(mode=0o700)
        shim = Installed(folder, folder / "data")
        shim.sink.open()
        keeper = shim.bundle(change=_in_pod)
        address = shim.start("keeper", keeper)
        client = shim.connect(address)
        client.create("keeper", keeper)
        try:
            beside_runc(shim, address, native.bundle(folder / "native", native.HELLO))
            many(shim, address, shim.server_pid(client))
        finally:
            client.delete("keeper")
            client.call("Shutdown", messages.ShutdownRequest("keeper"))
            shim.finish()


def beside_runc(shim: Shim, address: str, bundle: Path) -> None:
    print(f"{COUNT} containers, the better of {ROUNDS} rounds in turn")
    rates: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, run in (
            ("runc run, 4 at once", lambda: runc(bundle, 4)),
            ("runc run, 8 at once", lambda: runc(bundle, 8)),
            (f"sampan's server, {AT_ONCE} at once", lambda: len(tasks(shim, address, COUNT))),
        ):
            begin = time.perf_counter()
            run()
            rates[name] = max(rates.get(name, 0.0), COUNT / (time.perf_counter() - begin))
    best = max(rate for name, rate in rates.items() if name.startswith("runc"))
    for name, rate in rates.items():
        print(f"  {name:28s} {rate:7.1f} a second  {rate / best:6.2f} x runc")


def many(shim: Shim, address: str, server: int) -> None:
    before = memory_of(server)[0]
    taken = sorted(tasks(shim, address, TASKS))
    print(f"\n{TASKS} tasks, {AT_ONCE} in flight, 0 failed")
    print(f"  create and start: median {_ms(taken, 0.5)}, p99 {_ms(taken, 0.99)} ms")
    print(f"  the server's own memory: {before} kB before, {memory_of(server)[0]} kB after")


def tasks(shim: Shim, address: str, count: int) -> list[float]:
    """Runs so many tasks; the seconds that each took to start."""
    bundles = [
        (shim.new_id(), shim.bundle("/app.wasm", "echo", "hello", change=_in_pod)) for _ in range(count)
    ]
    local = threading.local()
    clients: list[Client] = []

    def run(task: tuple[str, Path]) -> float:
        if not hasattr(local, "client"):
            local.client = Client(address)
            clients.append(local.client)
        client, (name, bundle) = local.client, task
        begin = time.perf_counter()
        client.create(name, bundle)
        client.start(name)
        taken = time.perf_counter() - begin
        assert client.wait(name).exit_status == 0
        client.delete(name)
        return taken

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(run, bundles))
    for client in clients:
        client.close()
    for _, bundle in bundles:
        shutil.rmtree(bundle)
    return found


def runc(bundle: Path, at_once: int) -> None:
    def run(number: int) -> None:
        command = native.run_command(bundle, bundle.parent / "runc", f"bench-{number}")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(run, range(COUNT)))


def _in_pod(document: dict[str, Any]) -> None:
    document["annotations"] = {SANDBOX_ID: "bench"}


def _ms(values: list[float], part: float) -> str:
    return f"{values[min(int(len(values) * part), len(values) - 1)] * 1000:.0f}"


if __name__ == "__main__":
    main()
