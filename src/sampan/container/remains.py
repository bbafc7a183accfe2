"""What a run leaves in the kernel: its cgroup, and what the runtime of a Linux container remembers."""

from __future__ import annotations

from sampan.container.status import cgroup_at
from sampan.core.errors import SampanError
from sampan.linux import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.roots import Roots

SIGKILL = 9


def forget(entry: Entry, roots: Roots) -> None:
    """Ends what still runs of a container's last run, and takes its cgroup away."""
    run = entry.running
    if run is not None and run.linux_pid and run.boot_id == processes.boot_id():
        try:
            processes.send_signal(run.linux_pid, run.linux_start, SIGKILL)  # a plain user's has no cgroup
        except SampanError:  # it has ended
            pass
    try:
        cgroup_at(entry).remove()
    except (
        SampanError
    ):  # a process that is stuck in the kernel; the cgroup goes with the last, at the next try
        pass
    if entry.container.linux_runtime:
        from sampan.container.linuxruntime import LinuxRuntime

        runtime = LinuxRuntime(entry, roots)
        try:
            runtime.delete()
        finally:
            runtime.close()
