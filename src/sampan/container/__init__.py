"""Where a workload runs: container records, the container process, its walls, the zygote, logs.

Knows no registries and no images: it takes a spec and an unpacked root filesystem.
"""
