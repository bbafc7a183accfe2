"""Requests a second of a server that listens through the socket functions, beside native peers, by wrk.

    python bench/http.py [--connections 8] [--seconds 3] [--rounds 3] [MODULE...]

The guest is the example server. Its peers are the same C source compiled for Linux, and node's own HTTP server,
each where gcc and node are there. Rounds are interleaved; medians and ratios to the first peer are printed. A MODULE
is another server for WasmEdge's sockets, listening on 8080.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "examples/02-http-server"
NODE = """require("http").createServer((_, answer) => {
  answer.writeHead(200, {"Content-Type": "text/plain", "Content-Length": 14}); answer.end("Hello, World!\\n");
}).listen(+process.env.PORT, "127.0.0.1")"""
GUEST = """import _thread, os, sys
from sampan.engine.grants import Grants, Network, PortMap
from sampan.engine.program import Engine, preload
preload()
done = _thread.allocate_lock(); done.acquire(); _thread.stack_size(8 << 20)
program = Engine().load(os.open(sys.argv[1], os.O_RDONLY))
maps = [PortMap("127.0.0.1", int(os.environ["PORT"]), 8080)]
def work():
    program.run(Grants(["server"], [], [], Network("published", maps))); done.release()
_thread.start_new_thread(work, ()); done.acquire()"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(command: list[str], connections: int, seconds: int) -> float:
    """Requests a second of one fresh server."""
    port = free_port()
    env = {**os.environ, "PORT": str(port), "PYTHONPATH": str(ROOT / "src")}
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        url = f"http://127.0.0.1:{port}/"
        wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", url]
        found = subprocess.run(wrk, check=True, capture_output=True, text=True).stdout
    finally:
        server.kill()
        server.wait()
    rate = re.search(r"Requests/sec:\s*([\d.]+)", found)
    if not rate or "Non-2xx" in found:
        raise SystemExit(f"wrk says:\n{found}")
    return float(rate[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if server.poll() is not None:
                raise SystemExit(f"the server {server.args!r} has ended") from None
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


def contenders(modules: list[str], folder: str) -> dict[str, list[str]]:
    """Name and command of each server that can be had here, the peer to compare with first."""
    found: dict[str, list[str]] = {}
    if gcc := shutil.which("gcc"):
        native = f"{folder}/http-server"
        sources = [SERVER / "http-server.c", ROOT / "bench/native/host.c"]
        quiet = ["-Wno-attributes", "-Wno-unused-result"]
        subprocess.run([gcc, "-O2", *quiet, "-I", ROOT / "bench/native", *sources, "-o", native], check=True)
        found["the same source, native"] = [native]
    if node := shutil.which("node"):
        found["node:http"] = [node, "-e", NODE]
    for module in [str(SERVER / "http-server.wasm"), *modules]:
        found[f"sampan {Path(module).parent.name}/{Path(module).name}"] = [
            sys.executable,
            "-c",
            GUEST,
            module,
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("this needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        servers = contenders(options.modules, folder)
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name, command in servers.items():
                rates[name].append(measure(command, options.connections, options.seconds))
    base = statistics.median(next(iter(rates.values())))
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"{name:32} {rate:10,.0f} requests/s  {rate / base:5.2f}")


if __name__ == "__main__":
    main()
