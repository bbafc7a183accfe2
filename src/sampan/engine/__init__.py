"""How a workload runs: wasmtime by our own binding, WASI, WasmEdge's sockets, the cache of compiled code.

Knows nothing of containers, images or namespaces; may import `core` (and the wasmtime wheel's library).
"""
