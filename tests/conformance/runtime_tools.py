"""The validation programs of opencontainers/runtime-tools, run with any OCI runtime.

    python tests/conformance/runtime_tools.py runc
    python tests/conformance/runtime_tools.py 'python3 -I -S src/sampan/doors/oci/__main__.py' create start

Each program makes bundles from a small Linux root filesystem, has the runtime run them and prints TAP. The programs
are built once by the Go toolchain, in the folder that SAMPAN_TOOLS names (else below the user's cache).

Every program gets a state root, a folder for temporary files, and namespaces of its own for mounts and host names:
some of them leave containers behind, or ask for one in the namespaces of its caller. What is left is deleted
afterwards. They need root, as the bundles have no user namespaces.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

MODULE = "github.com/opencontainers/runtime-tools"
VERSION = "v0.9.1-0.20251205004911-5e639034dcdc"
ROOTFS = "rootfs-amd64.tar.gz"
INSIDE = "runtimetest"  # runs inside the bundles, so it must be linked statically
LIFECYCLE = (
    "config_updates_without_affect",
    "create",
    "delete",
    "delete_only_create_resources",
    "kill",
    "kill_no_effect",
    "killsig",
    "pidfile",
    "start",
    "state",
)
APART = ("unshare", "--mount", "--uts", "--propagation", "private")
SECONDS = 60


class Result(NamedTuple):
    """What a program said: how many checks went well and badly, and all that it printed."""

    program: str
    passed: bool
    ok: int
    not_ok: int
    output: str


def go() -> str | None:
    """The Go command, where there is one."""
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def tools_folder() -> Path:
    """Where tools of the tests are kept from one run to the next."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SAMPAN_TOOLS") or Path(cache) / "sampan-tests")


def install() -> Path:
    """The folder with the programs, `runtimetest` and the root filesystem; built when it is not there yet.

    Raises:
        subprocess.CalledProcessError: the Go toolchain could not build them.
    """
    folder = tools_folder() / f"runtime-tools-{VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "runtime-tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
                _build(Path(unfinished))
                Path(unfinished).chmod(0o755)
                Path(unfinished).rename(folder)
                Path(unfinished).mkdir()
    return folder


def _build(folder: Path) -> None:
    command = go()
    assert command, "the Go toolchain is needed"
    env = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    wanted = [f"{MODULE}/validation/...@{VERSION}", f"{MODULE}/cmd/{INSIDE}@{VERSION}"]
    subprocess.run([command, "install", *wanted], env=env, cwd=folder, check=True)
    download = [command, "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    told = subprocess.run(download, env=env, cwd=folder, check=True, stdout=subprocess.PIPE).stdout
    shutil.copyfile(Path(json.loads(told)["Dir"]) / ROOTFS, folder / ROOTFS)


def programs(tools: Path) -> list[str]:
    """The names of all validation programs."""
    return sorted(path.name for path in tools.iterdir() if path.name not in (INSIDE, ROOTFS))


def run(tools: Path, program: str, runtime: list[str]) -> Result:
    """Runs one program with the runtime that `runtime` starts, and removes what it leaves behind."""
    folder = Path(tempfile.mkdtemp(prefix="runtime-tools-"))
    root, wrapper, temporary = folder / "root", folder / "runtime", folder / "tmp"
    temporary.mkdir()
    folder.chmod(0o755)  # root of a user namespace is nobody here
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([*runtime, "--root", str(root)])} "$@"\n')
    wrapper.chmod(0o755)
    try:
        output, code = _output(tools, program, {"RUNTIME": str(wrapper), "TMPDIR": str(temporary)})
    finally:
        for container in root.glob("[!.]*") if root.is_dir() else ():
            subprocess.run(
                [wrapper, "delete", "--force", container.name], capture_output=True, timeout=SECONDS
            )
        for cgroup in Path("/sys/fs/cgroup").glob("*/testdir"):  # the parent that a program names
            for left in (cgroup / "cgrouptest", cgroup):
                if left.is_dir():
                    left.rmdir()
        shutil.rmtree(folder)
    return _judge(program, output, code)


def _output(tools: Path, program: str, env: dict[str, str]) -> tuple[str, int]:
    """What a program prints, and its exit code; -SIGKILL when it takes too long."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [*APART, tools / program],
            cwd=tools,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)  # helpers that it started, too
        except ProcessLookupError:
            pass
        code = process.wait()
        printed.seek(0)
        return printed.read().decode(errors="replace"), code


def _judge(program: str, output: str, code: int) -> Result:
    """A program that prints no check at all has not passed: some report failures only as diagnostics."""
    ok = len(re.findall(r"^ok\b", output, re.MULTILINE))
    not_ok = len(re.findall(r"\bnot ok\b", output))
    passed = code == 0 and ok > 0 and not_ok == 0 and "Bail out!" not in output
    return Result(program, passed, ok, not_ok, output)


def main(words: list[str]) -> int:
    """Prints a line for each program; 1 when one of them does not pass."""
    tools = install()
    runtime = shlex.split(words[0]) if words else ["runc"]
    results = []
    for program in words[1:] or programs(tools):
        result = run(tools, program, runtime)
        results.append(result)
        print(
            f"{'pass' if result.passed else 'FAIL'} {program}: {result.ok} ok, {result.not_ok} not ok",
            flush=True,
        )
        if not result.passed and words[1:]:
            print(result.output)
    print(f"{sum(result.passed for result in results)} of {len(results)} pass")
    return int(not all(result.passed for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
