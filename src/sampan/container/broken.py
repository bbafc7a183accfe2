"""The end of a container whose documents cannot be read: its process is known by its control socket and its cgroup."""

from __future__ import annotations

from sampan.container import control
from sampan.container.records import Container
from sampan.container.store import Entry
from sampan.core.errors import NotFound, SampanError
from sampan.linux import processes
from sampan.linux.cgroups import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.states import StateRoot

SIGKILL = 9


def remove(container_id: str, states: StateRoot) -> None:
    """Ends what still runs of it and removes its folder.

    Raises:
        NotFound: there is no such container.
    """
    try:
        connection = control.connect(f"{states.folder}/{container_id}")
    except SampanError:  # nobody is there
        pass
    else:
        pid = control.peer(connection)
        pidfd = processes.open_pidfd(pid)
        try:
            processes.send_signal(pid, processes.start_time(pid), SIGKILL)
            processes.wait_ended(pidfd, None)
        except NotFound:  # it ended by itself in between
            pass
        finally:
            connection.close()
    try:
        if path := Entry(
            f"{states.folder}/{container_id}", Container(container_id, "", "", 0)
        ).claimed_cgroup():
            Cgroup(path, base="").remove()
    except (SampanError, OSError):  # there is none that can be removed
        pass
    states.forget(container_id)
