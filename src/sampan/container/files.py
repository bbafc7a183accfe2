"""What a container process is started with, and the files that are its own: open from before its walls stand."""

from __future__ import annotations

import os
import time

from sampan.container import control, stdio
from sampan.container.logs import open_log
from sampan.container.logwriter import MAX_FILE, CriLogWriter, LogWriter
from sampan.container.records import Running
from sampan.core import strictjson
from sampan.core.record import Record
from sampan.linux.processes import boot_id, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.container.store import Entry
    from sampan.core.spec.runtime import Spec
    from sampan.linux.cgroups import Cgroup

PATIENCE = 10.0


class Wish(Record):
    """How a container process is to start.

    Attributes:
        mode: one of `stdio`'s. gated: whether the workload waits for `start` once everything else stands.
        console_fd: a connection to the console socket, -1 for none. preserved: how many descriptors from 3 up stay
            open for it.
    """

    mode: str
    gated: bool = False
    console_fd: int = -1
    preserved: int = 0

    @property
    def patience(self) -> float:
        """How long, in seconds, the workload waits for somebody to attach before it begins."""
        return PATIENCE if self.mode == stdio.ATTACHED else 0.0

    @property
    def kept(self) -> list[int]:
        """The caller's descriptors that the process keeps."""
        console_fd = [self.console_fd] if self.console_fd >= 0 else []
        return [*range(3, 3 + self.preserved), *console_fd]


class Files:
    """The container's own files, open from before anything takes away the way to them.

    Attributes:
        exit: takes the exit record. log: None where nothing is captured. server: the control socket.
    """

    def __init__(self) -> None:
        self.exit = self._running = self._begun = -1
        self.log: LogWriter | None = None
        self.server: control.Socket | None = None

    def open(self, entry: Entry, wish: Wish, spec: Spec) -> None:
        self.exit = entry.open_exit()
        if wish.mode != stdio.INHERIT:
            container = entry.container
            self.log = (
                CriLogWriter(open_log(container))
                if container.log_path
                else LogWriter(entry.folder, _log_limit(spec))
            )
        self.server = control.listen(entry.folder)
        self._running = entry.open_running()
        self._begun = entry.open_begun() if wish.gated else -1

    def write_running(self, running: Running) -> None:
        os.write(self._running, strictjson.dumps(running))
        os.close(self._running)

    def write_begun(self) -> None:
        os.write(self._begun, b"!")
        os.close(self._begun)  # or a workload could take back that it has begun


def _log_limit(spec: Spec) -> int:
    """How large a file of the log becomes: the process's own limit on files is one for its log too."""
    limits = spec.process.rlimits if spec.process is not None else []
    return min(
        [MAX_FILE, *(limit.soft for limit in limits if limit.type == "RLIMIT_FSIZE" and limit.soft > 0)]
    )


def running_now(pid: int, cgroup: Cgroup, root: int, spaces: Mapping[int, int]) -> Running:
    """The record of a run that begins now, in process `pid`.

    Args:
        root: a descriptor of its root. spaces: descriptors of its namespaces, by their flags.
    """
    return Running(
        pid,
        start_time(pid),
        boot_id(),
        time.time_ns(),
        cgroup=cgroup.path,
        spaces={str(flag): identity(fd) for flag, fd in spaces.items()},
        root=identity(root),
    )


def identity(fd: int) -> str:
    """What an open file is, whoever handed it over: its device and inode."""
    state = os.fstat(fd)
    return f"{state.st_dev}:{state.st_ino}"
