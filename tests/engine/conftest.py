"""Guests for the engine's tests: written in the text format, run in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.core.record import Record
from sampan.engine.code import wat_to_wasm
from sampan.engine.grants import Grants

RUNNER = Path(__file__).with_name("run_guest.py")
SOURCE = Path(__file__).parents[2] / "src"


class Outcome(Record):
    """What a run gave; for an error `reason` is "refused" and `error` its kind."""

    code: int
    reason: str
    message: str = ""
    kind: str = ""
    error: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    imported: list[str] = []


RunGuest = Callable[..., Outcome]


@pytest.fixture(scope="session")
def code_cache(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Folders of a cache that all tests share, to compile each guest once."""
    base = tmp_path_factory.mktemp("cache")
    return [f"{base}/code", f"{base}/run"]


@pytest.fixture
def run_guest(tmp_path: Path, code_cache: list[str]) -> RunGuest:
    """Runs a workload (text or binary) to its end and gives the `Outcome`."""

    def run(
        code: str | bytes,
        grants: Grants | None = None,
        *,
        entry: str = "",
        stdin: bytes = b"",
        **options: Any,
    ) -> Outcome:
        file = tmp_path / "guest.wasm"
        file.write_bytes(wat_to_wasm(code.encode()) if isinstance(code, str) else code)
        cache = options.pop("cache", code_cache)
        wish = {"file": str(file), "entry": entry, "grants": (grants or Grants()).to_json(), "cache": cache}
        return start(wish, stdin, **options)

    return run


def start(wish: dict[str, Any], stdin: bytes, timeout: float = 60) -> Outcome:
    ask_read, ask_write = os.pipe()
    tell_read, tell_write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(RUNNER), str(ask_read), str(tell_write)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(ask_read, tell_write),
        env={"PYTHONPATH": str(SOURCE), "HOST_SECRET": "not for guests"},
    )
    os.close(ask_read)
    os.close(tell_write)
    os.write(ask_write, json.dumps(wish).encode())
    os.close(ask_write)
    try:
        stdout, stderr = process.communicate(stdin, timeout)
        answer = os.read(tell_read, 1 << 20)
    finally:
        process.kill()
        process.wait()
        os.close(tell_read)
    assert process.returncode == 0, f"the process crashed: {process.returncode}\n{stderr.decode()}"
    return Outcome(**json.loads(answer), stdout=stdout, stderr=stderr)


RESULTS = 64  # where a script keeps its errnos


class Script:
    """A guest that makes WASI calls in order and writes their errnos to stdout, a byte each.

    A bytes argument becomes an address and a length, an int an i32, `("i64", n)` an i64.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._steps: list[str] = []
        self._imports: dict[str, str] = {}

    def call(self, name: str, *arguments: Any) -> Script:
        types, values = [], []
        for argument in arguments:
            if isinstance(argument, bytes):
                types += ["i32", "i32"]
                values += [f"(i32.const {1024 + len(self._data)})", f"(i32.const {len(argument)})"]
                self._data += argument
            elif isinstance(argument, tuple):
                types.append("i64")
                values.append(f"(i64.const {argument[1]})")
            elif isinstance(argument, str):  # any expression of the text format
                types.append("i32")
                values.append(argument)
            else:
                types.append("i32")
                values.append(f"(i32.const {argument})")
        self._imports[name] = (
            f'(import "wasi_snapshot_preview1" "{name}" '
            f"(func ${name} (param {' '.join(types)}) (result i32)))"
        )
        at = RESULTS + len(self._steps)
        self._steps.append(f"(i32.store8 (i32.const {at}) (call ${name} {' '.join(values)}))")
        return self

    def open(
        self, folder: int, path: bytes, *, create: bool = False, write: bool = False, **more: int
    ) -> Script:
        """`path_open`; the new descriptor is the next free one, from 4 upwards with one preopen."""
        rights = 0x2 | 0x4 | 0x2000 | 0x200000 | ((0x40 | 0x100 | 0x400000) if write else 0)
        flags = more.get("flags", 0) | (1 if create else 0)
        return self.call(
            "path_open", folder, more.get("follow", 1), path, flags, ("i64", rights), ("i64", rights), 0, 32
        )

    def text(self) -> str:
        data = "".join(f"\\{byte:02x}" for byte in self._data)
        imports = "\n".join(i for n, i in self._imports.items() if n != "fd_write")
        return f"""(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          {imports}
          (memory (export "memory") 4)
          (data (i32.const 1024) "{data}")
          (func (export "_start")
            {" ".join(self._steps)}
            (i32.store (i32.const 0) (i32.const {RESULTS}))
            (i32.store (i32.const 4) (i32.const {len(self._steps)}))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


@pytest.fixture
def script() -> Script:
    """An empty `Script`."""
    return Script()
