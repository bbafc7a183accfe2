"""The init that `docker run --init` and `podman run --init` put before a command: a Wasm workload needs none.

It would pass signals on and reap orphans; our process does the one, and a workload cannot leave the other.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Spec

PLACES = ("/sbin/docker-init", "/run/podman-init", "/dev/init")
"""Where the tools bind their init into a container."""


def without_init(spec: Spec) -> Spec:
    """The spec of what the tool's init would run; the same where no tool has put one there."""
    process = spec.process
    if process is None or process.args[1:2] != ["--"] or len(process.args) < 3:
        return spec
    init = process.args[0]
    others = [mount for mount in spec.mounts if mount.destination != init]
    if init not in PLACES or len(others) == len(spec.mounts):
        return spec
    return spec.replace(process=process.replace(args=process.args[2:]), mounts=others)
