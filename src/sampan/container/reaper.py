"""What is done for a container process by its parent, when it has ended: the record, the cgroup, the news."""

from __future__ import annotations

import os
import time

from sampan.container.events import publish_container
from sampan.container.records import Exit
from sampan.container.remains import forget
from sampan.container.status import cgroup_at
from sampan.core.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.container.store import Entry
    from sampan.core.roots import Roots

SIGKILL = 9


def reap(entry: Entry, roots: Roots, pid: int) -> Exit:
    """Waits for the child that is a container's process, and concludes its run.

    Raises:
        NotFound: somebody removed the container meanwhile; the error's exit code is that of the process.
    """
    ending = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ending is not None  # it waited
    status = wait_status_of(ending)
    try:
        return conclude(entry, roots, status)
    except NotFound as error:
        killed = ended(status)
        error.exit_code = killed.code if killed is not None else os.waitstatus_to_exitcode(status)
        raise
    finally:
        os.waitpid(pid, 0)


def endings() -> Iterator[tuple[int, int]]:
    """The pid and the wait status of every child that has ended; each is reaped once the next one is asked for."""
    while True:
        try:
            ending = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ending is None:
            return
        yield ending.si_pid, wait_status_of(ending)
        os.waitpid(ending.si_pid, 0)


def wait_status_of(ending: os.waitid_result) -> int:
    """What wait(2) says, from what waitid(2) says."""
    return ending.si_status << 8 if ending.si_code == os.CLD_EXITED else ending.si_status


def conclude(entry: Entry, roots: Roots, wait_status: int) -> Exit:
    """Records how a run ended and takes its cgroup away. The process is reaped afterwards: `start` waits for that.

    The container's own record stands; where it left none, the kernel's word counts: a signal, and for SIGKILL
    whether the cgroup's counter says that it was the memory limit.
    """
    cgroup = cgroup_at(entry)
    killed = ended(wait_status)
    if killed is not None and killed.reason == "killed" and cgroup.oom_kills() > 0:
        killed.reason = "oom"
    seen = killed or Exit(os.waitstatus_to_exitcode(wait_status), "exited", time.time_ns())
    entry.save_exit(seen)
    forget(entry, roots)
    record = entry.exit() or seen
    publish_container(roots, entry.container, "die", exitCode=str(record.code))
    return record


def ended(wait_status: int) -> Exit | None:
    """The record of a process that a signal ended; None for one that exited."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code >= 0:
        return None
    if -code == SIGKILL:
        return Exit(128 + SIGKILL, "killed", time.time_ns())
    return Exit(128 - code, "signal", time.time_ns(), f"the process was ended by signal {-code}")
