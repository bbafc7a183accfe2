"""What the engine costs: a cold and a warm process, a run in process, a run after a fork.

Prints figures (minimum and median, in milliseconds) and judges none. Compare within one run only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from sampan.engine.cache import CodeCache
from sampan.engine.code import wat_to_wasm
from sampan.engine.grants import Grants
from sampan.engine.program import Engine, Program, preload

SOURCE = Path(__file__).parents[1] / "src"
ROUNDS = int(os.environ.get("SAMPAN_BENCH_ROUNDS", "40"))
HELLO = b"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\08\\00\\00\\00\\06\\00\\00\\00hello\\n")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))"""
PYTHON = "pass"
LIBRARY = "import sampan.engine.binding"
RUN = """
import os
from sampan.engine.cache import CodeCache
from sampan.engine.grants import Grants
from sampan.engine.program import Engine
fd = os.open({file!r}, os.O_RDONLY)
code = Engine().load(fd, "", CodeCache({code!r}, {run!r})).run(Grants(["hello"])).code
os._exit(code)
"""


def measure(what: str, work: Callable[[], object], rounds: int = ROUNDS) -> None:
    times = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append((perf_counter() - start) * 1000)
    print(f"{what:<52}{min(times):>9.3f}{median(times):>9.3f}")


def process(program: str) -> None:
    path = [str(SOURCE), *[p for p in sys.path if p.endswith("site-packages")]]
    start = f"import sys; sys.path[:0] = {path!r}\n{program}"
    subprocess.run([sys.executable, "-I", "-S", "-c", start], stdout=subprocess.DEVNULL, check=True)


def fork_and_run(program: Program) -> None:
    child = os.fork()
    if child == 0:
        os._exit(program.run(Grants(["hello"])).code)
    os.waitpid(child, 0)


def fork_to_first_byte(program: Program) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os._exit(program.run(Grants(["hello"])).code)
    os.close(write)
    os.read(read, 1)
    os.close(read)
    os.waitpid(child, 0)


def main() -> None:
    base = tempfile.mkdtemp(prefix="sampan-bench-")
    file, code, run = f"{base}/hello.wasm", f"{base}/code", f"{base}/run"
    Path(file).write_bytes(wat_to_wasm(HELLO))
    whole = RUN.format(file=file, code=code, run=run)

    def cold() -> None:
        shutil.rmtree(code, ignore_errors=True)
        process(whole)

    print(f"{'milliseconds':<52}{'min':>9}{'median':>9}")
    measure("python -I -S -c pass", lambda: process(PYTHON))
    measure("the same and the engine's library bound", lambda: process(LIBRARY))
    measure("whole process, hello, nothing cached", cold, ROUNDS // 4)
    os.utime(file, (1, 1))
    process(whole)
    subprocess.run(["sleep", "2.1"], check=True)  # younger files are hashed again each time
    process(whole)
    measure("whole process, hello, cached", lambda: process(whole))

    preload()
    stdout = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    results = sys.stdout = os.fdopen(stdout, "w")
    engine = Engine()
    fd = os.open(file, os.O_RDONLY)
    program = engine.load(fd, "", CodeCache(code, run))
    measure("load, cached, in process", lambda: engine.load(fd, "", CodeCache(code, run)), ROUNDS * 5)
    measure("fork, run, exit, wait", lambda: fork_and_run(program), ROUNDS * 2)
    measure("fork to the guest's first byte, and exit, wait", lambda: fork_to_first_byte(program), ROUNDS * 2)
    measure("run in process", lambda: program.run(Grants(["hello"])), ROUNDS * 25)
    results.flush()
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
