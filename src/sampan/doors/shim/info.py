"""What the shim says of itself when containerd asks with `-info`: its name, its version, and runc's kind of options."""

from __future__ import annotations

import sampan
from sampan.doors.shim.messages import Pair, RuntimeInfo, RuntimeVersion

NAME = "io.containerd.sampan.v1"


def runtime_info() -> RuntimeInfo:
    annotations = [Pair("sampan.workloads", "wasm module, wasm component, linux")]
    return RuntimeInfo(NAME, RuntimeVersion(sampan.__version__), annotations=annotations)
