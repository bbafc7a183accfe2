"""The kernel, by ctypes and files: paths (openat2), mounts, namespaces, cgroups, Landlock, seccomp, durable files.

Takes and gives plain values; knows nothing of OCI or Wasm; may import `core`.
"""
