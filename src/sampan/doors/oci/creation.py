"""From a bundle to a container that waits for its start: what `create` and `run` have in common."""

from __future__ import annotations

import os
import time
from binascii import crc32

from sampan.container.bundle import check_spec, read_bundle
from sampan.container.inits import without_init
from sampan.container.records import Container, check_name
from sampan.core.commandline import setting, switch
from sampan.core.spec.runtime import Linux
from sampan.doors.oci import plumbing
from sampan.doors.oci.context import default_root
from sampan.engine.grants import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.core.spec.runtime import Spec
    from sampan.doors.oci.context import Context

OPTIONS = [
    setting("bundle", "DIR", "The bundle (default: the present folder)", "b"),
    setting("console-socket", "PATH", "Socket that gets the descriptor of the terminal's master"),
    setting("pid-file", "FILE", "File to write the process id to"),
    switch("no-pivot", "Accepted for runc's callers", no_effect="the root is always pivoted"),
    switch("no-new-keyring", "Do not make a session keyring"),
    setting("preserve-fds", "N", "Descriptors from 3 up that the container process keeps open", default="0"),
]


def create(context: Context, arguments: Arguments, *, console_fd: int = -1) -> Entry:
    """Creates the container that the command line asks for; one of a Linux bundle is handed over for good.

    Args:
        console_fd: a connection that takes the terminal's master, where the caller has one of its own.

    Raises:
        SampanError: what is wrong with the bundle, or what stopped the creation; nothing is left then.
    """
    container_id = check_name(arguments.operands[0], "container id")
    bundle = os.path.abspath(arguments.value("bundle") or ".")
    spec = without_init(read_bundle(bundle))
    _hand_over_linux(context, spec, bundle)
    check_spec(spec)
    _name_cgroup(context, spec, container_id)
    terminal = spec.process is not None and spec.process.terminal
    console_fd = plumbing.console(arguments, terminal=terminal, given=console_fd)
    preserved = plumbing.preserved(arguments)
    entry = context.states.create(_container(context, container_id, bundle), spec)
    try:
        from sampan.container.starting import create

        pid = create(entry, context.roots, console_fd=console_fd, preserved=preserved)
        plumbing.write_pid(arguments, pid)
        run = entry.running
        for missing in run.missing if run is not None else []:
            context.record("warning", f"container {container_id} has {missing}")
    except BaseException:
        from sampan.container.lifecycle import abandon

        abandon(entry, context.states)
        raise
    return entry


def _hand_over_linux(context: Context, spec: Spec, bundle: str) -> None:
    from sampan.container.finding import verdict_of

    verdict = verdict_of(spec, bundle)
    context.record("debug", f"{verdict.kind}: {'; '.join(verdict.evidence)}")
    if verdict.kind not in ("module", "component"):
        from sampan.container.delegate import hand_over

        hand_over(context.words, context.env)


def _name_cgroup(context: Context, spec: Spec, container_id: str) -> None:
    """Gives a bundle that names no cgroup one that no container of another root has, whatever its id."""
    if context.systemd or (spec.linux is not None and spec.linux.cgroups_path):
        return
    if spec.linux is None:
        spec.linux = Linux()
    own = context.root == default_root(context.env)
    spec.linux.cgroups_path = container_id if own else f"{container_id}-{crc32(context.root.encode()):08x}"


def _container(context: Context, container_id: str, bundle: str) -> Container:
    rootless = os.geteuid() != 0 if context.rootless == "auto" else context.rootless == "true"
    return Container(
        id=container_id,
        name=container_id,
        image="",
        created=time.time_ns(),
        bundle=bundle,
        network=Network("host"),  # whatever its network namespace has
        keep_stdin=True,
        strict=not rootless,
        systemd_cgroup=context.systemd,
    )
