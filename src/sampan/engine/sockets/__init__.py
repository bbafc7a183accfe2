"""WasmEdge's socket functions for preview 1 modules, as host functions beside the engine's own WASI.

A module that was written for WasmEdge imports `sock_open` and its like from `wasi_snapshot_preview1`, and goes
on to use WASI's `fd_read`, `poll_oneoff` and so on with what it gets. So these are shadowed as well, in such
modules alone: descriptors from 1000 upwards are ours, calls about all others are passed on.

What it refuses: anything without a grant (EACCES), Unix sockets, options that WasmEdge does not have.
`interface` says which functions there are, `host` defines them in a linker, the rest is what they do.
"""

from sampan.engine.sockets.host import Sockets
from sampan.engine.sockets.interface import uses_sockets

__all__ = ["Sockets", "uses_sockets"]
