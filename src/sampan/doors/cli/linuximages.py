"""`run` and `create` of a Linux image: what it can and cannot be given.

The container is the same as any other; its program runs in runc, crun or youki (`container.foreign`).
"""

from __future__ import annotations

import os

from sampan.core.errors import Denied, Unimplemented
from sampan.linux.cgroups import BASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Container
    from sampan.core.commandline import Arguments
    from sampan.core.spec.runtime import Spec
    from sampan.doors.cli.context import Context

WASM_ONLY = ("fuel", "max-stack", "table-elements", "timeout", "waive")
NO_LIBRARY_SWITCH = "/etc/nsswitch.conf"  # the image's own C library decides what it can ask


def adapt(context: Context, args: Arguments, container: Container, spec: Spec) -> Spec:
    """Makes a container one of a Linux image; its whole spec.

    Raises:
        NotFound: there is no runtime for it. Unimplemented: a flag that it cannot have.
        Denied: limits, for a plain user.
    """
    from sampan.container.delegate import linux_runtime
    from sampan.container.linuxdefaults import with_defaults

    container.linux_runtime = linux_runtime(context.env)
    _refuse(args, container)
    process = spec.process
    assert process is not None  # it was made with the container
    asked = any(text.startswith("no-new-privileges") for text in args.values("security-opt"))
    dropped = [f"CAP_{name.upper().removeprefix('CAP_')}" for name in args.values("cap-drop")]
    network = container.network
    return with_defaults(
        spec.replace(
            process=process.replace(no_new_privileges=asked),
            mounts=[mount for mount in spec.mounts if mount.destination != NO_LIBRARY_SWITCH],
        ),
        f"/{BASE}/{container.id}",
        dropped,
        host_network=network is not None and network.mode == "host",
    )


def _refuse(args: Arguments, container: Container) -> None:
    for flag in WASM_ONLY:
        if args.given(flag):
            raise Unimplemented(
                f"--{flag} is for WebAssembly, and {container.image} is a Linux image",
                fix=f"leave --{flag} out",
            )
    if args.on("init"):
        raise Unimplemented(
            f"--init cannot be had for {container.image}, a Linux image", fix="put an init into the image"
        )
    network = container.network
    if network is not None and network.mode == "published":
        raise Unimplemented(
            f"ports of {container.image} cannot be published: it is a Linux image", fix="use --network host"
        )
    if os.geteuid() != 0:
        for flag in ("memory", "cpus", "cpu-shares", "pids-limit"):
            if args.given(flag):
                raise Denied(
                    f"--{flag} cannot be had for a Linux image: a plain user may not make its cgroup here",
                    fix=f"leave --{flag} out, or use sampan as root",
                )
