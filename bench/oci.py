"""`sampan-oci` beside runc and crun: a hello, the life of a sleeper, and a large server's first answer.

    python bench/oci.py

The peers' hello carries its engine in the image: the same library and the same module, with compiled code or compiled
at each start. Their sleeper is a static native program. SAMPAN_OCI names another `sampan-oci`; SAMPAN_BENCH_SERVER
a server of your own as MODULE:PORT, instead of the example grown to 3.6 MB.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import modules
import native
from figures import ROUNDS, interleaved, once, show

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SAMPAN_OCI = os.environ.get("SAMPAN_OCI") or str(Path(sys.executable).with_name("sampan-oci"))
SAMPAN = str(Path(SAMPAN_OCI).with_name("sampan"))
SERVER_SIZE = 3_600_000
STEPS = ("create", "start", "state", "kill", "delete")
PR_SET_CHILD_SUBREAPER = 36
NO_CGROUPS = ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified; exec "$@"', "sh"]
"""For crun, which refuses to run beside hierarchies of both versions: costs it 2 ms."""
NAME = f"bench-{os.getpid()}"
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main() -> None:
    if not native.is_there():
        raise SystemExit("this needs root, runc and cc")
    ctypes.CDLL(None).prctl(
        PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0
    )  # containers that were created are ours to reap
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        os.environ.update(SAMPAN_ROOT=f"{folder}/data", SAMPAN_RUN_ROOT=f"{folder}/run")
        runtimes = runtimes_in(folder)
        hello(folder, runtimes)
        life(folder, runtimes)
        server(folder, runtimes["sampan-oci"])


def runtimes_in(folder: str) -> dict[str, list[str]]:
    """Name and first words of each runtime that works here."""
    found = {
        "runc": ["runc", "--root", f"{folder}/runc"],
        "sampan-oci": [SAMPAN_OCI, "--root", f"{folder}/sampan-oci"],
    }
    if shutil.which("crun"):
        crun = ["crun", "--cgroup-manager=disabled", "--root", f"{folder}/crun"]
        probe = str(native.bundle(f"{folder}/probe", native.HELLO))
        for words in (crun, [*NO_CGROUPS, *crun]):
            if subprocess.run([*words, "run", "-b", probe, NAME], check=False, **QUIET).returncode == 0:
                found["crun"] = words
                break
    return found


# -- a hello


def hello(folder: str, runtimes: dict[str, list[str]]) -> None:
    engine = Path(folder) / "engine"
    library = native.library_of_engine()
    subprocess.run(
        [
            "cc",
            "-O2",
            "-o",
            engine,
            ROOT / "bench/native/engine.c",
            library,
            f"-Wl,-rpath,/lib:{library.parent}",
        ],
        check=True,
    )
    module = EXAMPLES / "01-hello/hello.wasm"
    carrying = f"{folder}/carrying"
    native.bundle(carrying, native.HELLO)
    put_with_libraries(engine, Path(carrying) / "rootfs")
    shutil.copy(module, f"{carrying}/rootfs")
    subprocess.run([engine, "compile", module, f"{carrying}/rootfs/hello.code"], check=True)
    compiling = shutil.copytree(carrying, f"{folder}/compiling")
    set_args(carrying, ["/engine", "run", "/hello.code"])
    set_args(compiling, ["/engine", "jit", "/hello.wasm"])
    ours = wasm_bundle(f"{folder}/hello", module, [])

    run = {name: [*words, "run", "-b"] for name, words in runtimes.items()}
    command = [*run["sampan-oci"], ours, NAME]
    commands = {
        "runc, engine and code in the image": [*run["runc"], carrying, NAME],
        "sampan-oci, no zygote on the machine": command,
        "sampan-oci beside a zygote": functools.partial(once, command, beside_a_zygote(folder)),
        "runc, compiling at each start": [*run["runc"], compiling, NAME],
    }
    if "crun" in run:
        commands["crun (no cgroups), engine and code"] = [*run["crun"], carrying, NAME]
        commands["crun (no cgroups), compiling"] = [*run["crun"], compiling, NAME]
    figures = interleaved(commands)
    for peer in ("runc, engine and code in the image", "runc, compiling at each start"):
        show("run a hello", figures, peer)
    subprocess.run([SAMPAN, "rm", "-f", NAME], env=beside_a_zygote(folder), check=True, **QUIET)


def beside_a_zygote(folder: str) -> dict[str, str]:
    """The environment of a machine where `sampan` keeps a container in the background, whose zygote is there."""
    env = os.environ | {"SAMPAN_RUN_ROOT": f"{folder}/warm"}
    if not os.path.exists(f"{folder}/warm"):
        sleeper = [str(EXAMPLES / "05-toolbox/toolbox.wasm"), "sleep", "1000"]
        subprocess.run([SAMPAN, "run", "-d", "--name", NAME, *sleeper], env=env, check=True, **QUIET)
    return env


def put_with_libraries(program: Path, root: Path) -> None:
    """A program into a root filesystem, with the libraries that the linker names: all in /lib, but the loader."""
    shutil.copy(program, root)
    (root / "lib").mkdir(exist_ok=True)
    for line in subprocess.run(
        ["ldd", program], check=True, capture_output=True, text=True
    ).stdout.splitlines():
        name, _, path = line.strip().partition(" (")[0].partition(" => ")
        if path:
            shutil.copy(path, root / "lib" / Path(name).name)
        elif name.startswith("/"):
            place = root / name[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, place)


def wasm_bundle(folder: str, module: Path, words: list[str]) -> str:
    """A bundle whose root filesystem holds one module."""
    os.makedirs(f"{folder}/rootfs")
    shutil.copy(module, f"{folder}/rootfs/{module.name}")
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    set_args(folder, [f"/{module.name}", *words])
    return folder


def set_args(folder: str, args: list[str], *, host_network: bool = False) -> None:
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    config["process"].update(args=args, terminal=False)
    if host_network:
        spaces = config["linux"]["namespaces"]
        config["linux"]["namespaces"] = [space for space in spaces if space["type"] != "network"]
    path.write_text(json.dumps(config))


# -- the life of a sleeper


def life(folder: str, runtimes: dict[str, list[str]]) -> None:
    """Each command of a container's life; the sum has the time that the kill takes to be seen."""
    sleeper = str(native.bundle(f"{folder}/sleeper", native.SLEEPER))
    guest = wasm_bundle(f"{folder}/guest", EXAMPLES / "05-toolbox/toolbox.wasm", ["sleep", "1000"])
    bundles = {name: guest if name == "sampan-oci" else sleeper for name in runtimes}
    taken: dict[str, list[list[float]]] = {name: [] for name in runtimes}
    sums = interleaved(
        {name: functools.partial(live, words, bundles[name], taken[name]) for name, words in runtimes.items()}
    )
    for number, step in enumerate(STEPS):
        figures = {}
        for name, rounds in taken.items():
            times = sorted(each[number] for each in rounds[-ROUNDS:])
            figures[name] = (times[len(times) // 2], times[0])
        show(step, figures, "runc")
    show("create, start, state, kill, delete", sums, "runc")


def live(words: list[str], bundle: str, taken: list[list[float]]) -> float:
    """One container from create to delete; the milliseconds of it all."""
    pid_file = f"{bundle}/pid"
    begin = time.perf_counter()
    times = [once([*words, "create", "-b", bundle, "--pid-file", pid_file, NAME])]
    times += [once([*words, step, NAME]) for step in ("start", "state")]
    times.append(once([*words, "kill", NAME, "KILL"]))
    os.waitpid(int(Path(pid_file).read_text()), 0)
    times.append(once([*words, "delete", NAME]))
    taken.append(times)
    return (time.perf_counter() - begin) * 1000


# -- a large server


def server(folder: str, sampan: list[str]) -> None:
    """From `create` to the first answer, its code in the cache; and what compiling it takes, by the engine's C API."""
    if given := os.environ.get("SAMPAN_BENCH_SERVER"):
        name, _, port = given.rpartition(":")
        module = Path(name)
    else:
        module, port = Path(folder) / "server.wasm", "8080"
        module.write_bytes(
            modules.grown((EXAMPLES / "02-http-server/http-server.wasm").read_bytes(), SERVER_SIZE)
        )
    bundle = wasm_bundle(f"{folder}/server", module, [])
    set_args(bundle, [f"/{module.name}"], host_network=True)
    figures = interleaved(
        {
            "create to first answer": functools.partial(answer, sampan, bundle, int(port)),
            "compiling": [f"{folder}/engine", "compile", str(module), f"{folder}/server.code"],
        },
        rounds=max(3, ROUNDS // 2),
    )
    show(f"a server of {module.stat().st_size / 1e6:.1f} MB", figures, "compiling")


def answer(sampan: list[str], bundle: str, port: int) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [*sampan, "create", "-b", bundle, "--pid-file", f"{bundle}/pid", NAME], check=True, **QUIET
    )
    subprocess.run([*sampan, "start", NAME], check=True, **QUIET)
    pid = int(Path(f"{bundle}/pid").read_text())
    while not has_answered(port):
        if time.perf_counter() - begin > 60:
            raise SystemExit(f"nothing answers on port {port}")
        time.sleep(0.0005)
    taken = (time.perf_counter() - begin) * 1000
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    subprocess.run([*sampan, "delete", NAME], check=True, **QUIET)
    return taken


def has_answered(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.recv(12).startswith(b"HTTP/1.")
    except OSError:
        return False


if __name__ == "__main__":
    main()
