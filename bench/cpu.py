"""Six kernels in a container beside the same compiled code in a bare C host: what the walls cost who computes.

    python bench/cpu.py

Each run times its kernels itself, so starting costs nothing here. SAMPAN names another `sampan`.
"""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from native import library_of_engine

ROUNDS = int(os.environ.get("ROUNDS", "10"))
HERE = Path(__file__).parent
SAMPAN = os.environ.get("SAMPAN") or str(Path(sys.executable).with_name("sampan"))
MODULE = HERE / "native/kernels.wasm"


def main() -> None:
    if not shutil.which("cc"):
        raise SystemExit("this needs cc")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(SAMPAN_ROOT=f"{folder}/data", SAMPAN_RUN_ROOT=f"{folder}/run")
        host, library = f"{folder}/host", library_of_engine()
        words = ["cc", "-O2", "-o", host, str(HERE / "native/engine.c"), str(library)]
        subprocess.run([*words, f"-Wl,-rpath,{library.parent}"], check=True)
        subprocess.run([host, "compile", MODULE, f"{folder}/code"], check=True)
        commands = {
            "bare host": [host, "run", f"{folder}/code"],
            "sampan": [SAMPAN, "run", "--rm", str(MODULE)],
        }
        best: dict[str, dict[str, float]] = {name: {} for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                for kernel, taken in kernels_of(command).items():
                    best[name][kernel] = min(taken, best[name].get(kernel, math.inf))
    print(f"\nsix kernels, best of {ROUNDS} rounds of 3")
    ratios = [taken / best["bare host"][kernel] for kernel, taken in best["sampan"].items()]
    for (kernel, taken), ratio in zip(best["sampan"].items(), ratios):
        print(
            f"  {kernel:44s} {taken:9.2f} ms  {ratio:6.3f} x bare host ({best['bare host'][kernel]:.2f} ms)"
        )
    print(f"  {'geometric mean':44s} {'':12s} {math.prod(ratios) ** (1 / len(ratios)):6.3f} x bare host")


def kernels_of(command: list[str]) -> dict[str, float]:
    """Kernel -> milliseconds, as a run prints them."""
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {kernel: float(taken) for kernel, taken in map(str.split, lines)}


if __name__ == "__main__":
    main()
