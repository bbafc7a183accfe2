"""The images that the manifests of these scenarios name, made of our own guests, and a pause image for containerd."""

from __future__ import annotations

import shutil
from pathlib import Path

from sampan.engine.code import wat_to_wasm
from tests.scenarios.oci.images import archive
from tests.scenarios.shim.pods import node

from .configuration import PAUSE

GREETING = "docker.io/duizhang/hello-wasm:9.0"
GREETER = """
(module
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "Hello, !\\n")
  (func $length (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (loop $next
      (if (i32.load8_u (local.get $end))
        (then (local.set $end (i32.add (local.get $end) (i32.const 1))) (br $next))))
    (i32.sub (local.get $end) (local.get $text)))
  (func $print (param $text i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $text))
    (i32.store (i32.const 20) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func (export "greet")
    (local $name i32)
    (drop (call $args (i32.const 64) (i32.const 256)))
    (local.set $name (i32.load (i32.const 68)))
    (call $print (i32.const 0) (i32.const 7))
    (call $print (local.get $name) (call $length (local.get $name)))
    (call $print (i32.const 7) (i32.const 2))))
"""
"""A library: it exports `greet`, which greets the first argument, and nothing that a program begins with."""


def images(folder: Path) -> dict[str, Path]:
    """Archives in a folder, by the names that they are pushed as."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    greeter = wat_to_wasm(GREETER.encode())
    found = dict(zip((node.WEB, node.NGINX, node.DEMO, node.ANY_BINARY), node.images(folder)))
    found[GREETING] = archive(folder / "greeting", GREETING, {"/hello.wasm": greeter}, Cmd=["/hello.wasm"])
    pause = {"/bin/busybox": busybox}
    found[PAUSE] = archive(
        folder / "pause", PAUSE, pause, mode=0o755, Entrypoint=["/bin/busybox", "sleep", "1000000"]
    )
    return found
