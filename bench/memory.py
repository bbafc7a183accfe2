"""Memory of sleeping containers: 100 of them, beside runc with a static native sleeper and its shim-less process."""

import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import native
from figures import memory_of

ROOT = pathlib.Path(__file__).parents[1]
TOOLBOX = ROOT / "examples/05-toolbox/toolbox.wasm"
SAMPAN = str(pathlib.Path(sys.executable).with_name("sampan"))
COUNT = int(os.environ.get("COUNT", "100"))


def where(pids):
    """Prints which kinds of mappings the private memory of processes is in, in KiB of each."""
    found = collections.Counter()
    for pid in pids:
        kind = ""
        for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
            name, *values = line.split()
            if not name.endswith(":"):
                kind = values[-1].rpartition("/")[2] if len(values) > 4 else "objects, stacks and guests"
            elif name.startswith("Private_"):
                found[kind] += int(values[0])
    parts = ", ".join(f"{kind} {size / len(pids):.0f}" for kind, size in found.most_common(4))
    print(f"    of it in KiB: {parts}")


def show(name, pids):
    private, share = zip(*(memory_of(pid) for pid in pids), strict=True)
    print(
        f"  {name:40s} {sum(private) / len(pids) / 1024:6.2f} MB private  {sum(share) / len(pids) / 1024:6.2f} MB PSS"
    )


def named(comm):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == comm:
                found.append(int(pid))
        except OSError:
            continue
    return found


def main():
    print(f"\nmemory of one of {COUNT} sleeping containers")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(SAMPAN_ROOT=f"{folder}/data", SAMPAN_RUN_ROOT=f"{folder}/run")
        begin = time.perf_counter()
        for number in range(COUNT):
            command = [SAMPAN, "run", "-d", "--name", f"s{number}", str(TOOLBOX), "sleep", "1000"]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        taken = time.perf_counter() - begin
        containers = named("sampan-workload")
        show("sampan container", containers)
        where(containers)
        show("its zygote (one for all)", named("sampan-zygote"))
        print(f"  {COUNT / taken:.1f} starts a second, one after the other")
        names = [f"s{number}" for number in range(COUNT)]
        subprocess.run([SAMPAN, "rm", "-f", *names], stdout=subprocess.DEVNULL, check=True)
        if native.is_there():
            bundle = native.bundle(f"{folder}/bundle", native.SLEEPER)
            state = f"{folder}/runc"
            begin = time.perf_counter()
            for number in range(COUNT):
                command = ["runc", "--root", state, "run", "-d", "--bundle", str(bundle), f"n{number}"]
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
            taken = time.perf_counter() - begin
            show("runc, a static native sleeper", named("program"))
            print(f"  {COUNT / taken:.1f} starts a second, one after the other")
            for number in range(COUNT):
                subprocess.run(["runc", "--root", state, "delete", "-f", f"n{number}"], check=True)


if __name__ == "__main__":
    main()
