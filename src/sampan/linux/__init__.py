"""The kernel, by ctypes and files: paths, mounts, namespaces, cgroups, Landlock, seccomp, durable files.

Takes and gives plain values; knows nothing of OCI or Wasm; may import `core`.
"""
