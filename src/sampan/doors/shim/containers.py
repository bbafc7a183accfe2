"""The containers behind tasks: one way to create, start, signal and remove them, whatever runs inside.

`Container` is a container process of ours, for Wasm or, with nothing in it, for a pod's sandbox; `LinuxContainer` is
runc's or crun's. The server is the parent, or the reaper, of all their processes.
"""

from __future__ import annotations

from sampan.container import lifecycle, starting
from sampan.container.inside import execute
from sampan.container.linuxruntime import LinuxRuntime
from sampan.container.records import Exit
from sampan.container.spaces import Spaces
from sampan.container.status import cgroup_of
from sampan.core.errors import SampanError, Unimplemented
from sampan.core.spec.runtime import Linux, Resources
from sampan.doors.shim.streams import On012
from sampan.linux.namespaces import NEWPID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.spec.runtime import Process
    from sampan.doors.shim.pod import Pod
    from sampan.doors.shim.streams import Ends
    from sampan.doors.shim.terminals import Console
    from sampan.linux.cgroups import Cgroup


class Container:
    """A container with a record in the server's folder."""

    def __init__(self, pod: Pod, entry: Entry) -> None:
        self._pod = pod
        self._entry = entry

    @property
    def bundle(self) -> str:
        return self._entry.container.bundle

    @property
    def cgroup(self) -> Cgroup:
        return cgroup_of(self._entry.container, self._entry.spec)

    @property
    def outlives_its_process(self) -> bool:
        """Whether other processes of it may go on when its own has ended: its pid namespace is not its own."""
        return not Spaces(self._entry.spec.linux or Linux()).made & NEWPID

    def create(self, ends: Ends, console: Console | None) -> starting.Creation | int:
        """Begins to make everything up to the workload, which waits for `start`; its pid where that is done already.

        Args:
            console: takes the master of its terminal; None for no terminal.

        Raises:
            SampanError: what stopped it.
        """
        console_fd = console.connection() if console is not None else -1
        with On012(ends):
            return starting.Creation(self._entry, self._pod.roots, console_fd=console_fd)

    def start(self) -> None:
        """Lets the workload begin.

        Raises:
            SampanError: it cannot be loaded, or has ended already.
        """
        lifecycle.begin(self._entry)

    def execute(self, process: Process, ends: Ends, console: Console | None) -> int:
        """Starts another process in the running container; its pid.

        Raises:
            SampanError: what stopped it.
        """
        console_fd = console.connection() if console is not None else -1
        with On012(ends):
            return execute(self._entry, self._pod.roots, process, keep_stdin=True, console_fd=console_fd)

    def update(self, resources: Resources) -> None:
        """Changes the limits that are named.

        Raises:
            SampanError: the kernel does not take them. Unimplemented: this host has no way to.
        """
        cgroup = self.cgroup
        cgroup.update(resources)
        if cgroup.missing:
            raise Unimplemented(f"this host cannot limit {', '.join(cgroup.missing)}")

    def wake(self) -> None:
        """Lets processes that were frozen go on: else not even SIGKILL ends them."""
        cgroup = self.cgroup
        if cgroup.is_frozen():
            cgroup.thaw()

    def signal_all(self, number: int) -> None:
        """Signals every process of it, also when its own has ended."""
        lifecycle.signal_all(self._entry, number)

    def ended(self, code: int, reason: str, finished: int) -> None:
        """Notes how its process ended, where that could not do it itself: for whoever must clean up after us."""
        try:
            self._entry.save_exit(Exit(code, reason, finished))
        except SampanError:  # it is told to containerd all the same
            return

    def remove(self) -> None:
        """Ends what is left and takes the cgroup and the record away.

        Raises:
            SampanError: something is stuck in the kernel; the record is gone all the same.
        """
        self.wake()
        lifecycle.delete(self._entry, self._pod.states, force=True)


class LinuxContainer(Container):
    """A Linux program: the runtime for Linux containers makes it, and its process becomes this server's child."""

    def create(self, ends: Ends, console: Console | None) -> int:
        runtime = LinuxRuntime(self._entry, self._pod.linux)
        try:
            with On012(ends):
                return runtime.create(console.listen(self._entry.folder) if console is not None else "")
        finally:
            runtime.close()

    def start(self) -> None:
        runtime = LinuxRuntime(self._entry, self._pod.linux)
        try:
            runtime.start()
        finally:
            runtime.close()

    def execute(self, process: Process, ends: Ends, console: Console | None) -> int:
        runtime = LinuxRuntime(self._entry, self._pod.linux)
        try:
            with On012(ends):
                path = console.listen(self._entry.folder) if console is not None else ""
                return runtime.execute_beside(process, path)
        finally:
            runtime.close()

    def remove(self) -> None:
        runtime = LinuxRuntime(self._entry, self._pod.linux)
        try:
            runtime.delete()
        finally:
            runtime.close()
        super().remove()
