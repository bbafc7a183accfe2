"""What the shim says of itself when containerd asks with `-info`: its name, its version, and runc's kind of options."""

from __future__ import annotations

import sampan
from sampan.doors.shim.messages import Pair, RuntimeInfo, RuntimeVersion


def runtime_info(runtime: str) -> RuntimeInfo:
    """The document for a shim of this name."""
    annotations = [Pair("sampan.workloads", "wasm module, wasm component, linux")]
    return RuntimeInfo(
        f"io.containerd.{runtime}.v1", RuntimeVersion(sampan.__version__), annotations=annotations
    )
