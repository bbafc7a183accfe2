"""Builds the guests of this folder, and says what is missing instead of installing it.

    python examples/build.py            every guest that can be built here
    python examples/build.py hello go   those whose folder's name has one of the words

C guests need the PyPI package `ziglang`; the small modules that they give are kept in the tree. The Python
component needs `componentize-py`, the Go guest a Go toolchain: those two are large and are not kept.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
C_GUESTS = (
    "01-hello/hello",
    "02-http-server/http-server",
    "05-toolbox/toolbox",
    "06-wasi-example/wasi-example",
    "07-runtimetest/runtimetest",
    "../bench/native/kernels",
    "../tests/escapes/guests/files",
    "../tests/escapes/guests/sockets",
    "../tests/scenarios/cri/guests/applets",
)


class MissingToolError(Exception):
    """Raised when a tool that a guest needs is not there."""


def build_c(name: str, to: Path | None = None) -> Path:
    """Compile `examples/NAME.c` for WASI preview 1; gives the module's path."""
    if not importlib.util.find_spec("ziglang"):
        raise MissingToolError("a C guest needs the package ziglang: pip install ziglang")
    out = to or (HERE / name).with_suffix(".wasm")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi"]
    checks = ["-std=gnu17", "-Wall", "-Wextra", "-Wno-unused-parameter"]
    small = ["-O2", "-s", "-Wl,-z,stack-size=1048576"]  # a C stack of 1 MiB instead of 16
    subprocess.run([*zig, *checks, *small, "-o", out, HERE / f"{name}.c"], check=True)
    out.chmod(0o644)
    return out


def build_component(to: Path | None = None) -> Path:
    """Make the Python component of `03-component`, some 18 MB; gives its path."""
    tool = Path(sys.executable).with_name("componentize-py")
    found = str(tool) if tool.exists() else shutil.which("componentize-py")
    if not found:
        raise MissingToolError("the Python component needs componentize-py: pip install componentize-py")
    folder = HERE / "03-component"
    out = to or folder / "hello.wasm"
    command = [found, "-d", "wit", "-w", "hello", "componentize", "app", "-o", str(out)]
    subprocess.run(command, cwd=folder, check=True)
    return out


def build_go(to: Path | None = None) -> Path:
    """Compile the Go guest of `04-go` for wasip1; gives the module's path."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not go:
        raise MissingToolError("the Go guest needs a Go toolchain, version 1.21 or newer")
    out = to or HERE / "04-go/worker.wasm"
    settings = {"GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    command = [go, "build", "-ldflags", "-s -w", "-o", str(out), "."]
    subprocess.run(command, cwd=HERE / "04-go", env={**os.environ, **settings}, check=True)
    return out


def main(words: list[str]) -> int:
    """Build what the words choose; 1 when something could not be built."""
    builders = {name: (lambda name=name: build_c(name)) for name in C_GUESTS}
    builders |= {"03-component": build_component, "04-go": build_go}
    failed = False
    for name, build in sorted(builders.items()):
        if words and not any(word in name for word in words):
            continue
        try:
            out = build()
            print(f"{name}: {out.stat().st_size:,} bytes")
        except (MissingToolError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
