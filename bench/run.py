"""All benchmarks, one after the other; each also runs alone. Timings are never asserted, only shown beside a peer's."""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent

for name in ("engine", "cpu", "start", "oci", "shim", "cri", "memory", "http"):
    print(f"\n== {name}")
    sys.stdout.flush()
    subprocess.run([sys.executable, HERE / f"{name}.py"], check=False)
