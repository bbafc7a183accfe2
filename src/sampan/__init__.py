"""Sampan runs WebAssembly workloads at every layer of the container stack, from one core.

The rooms, and who may import whom, are in `docs/design.md`; `make check` enforces them.
"""

__version__ = "0.1.0"
