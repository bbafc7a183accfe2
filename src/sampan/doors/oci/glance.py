"""What the launcher needs for `state`, `kill` and `delete` without starting Python.

`create` writes a file `glance` into the container's folder; `scripts/sampan` reads it. The launcher answers `state`
and `kill` only while the process that it names is there, and deletes only what the kernel lets go; everything else is
left to Python: a container that is paused, an option or a signal that the launcher does not know, a file that it
cannot read. Lines: the process id and its start time in clock ticks; the boot's id; the file that tells whether the
cgroup is frozen; the cgroup's folders; then the document that `state` prints, in which the launcher puts the status.
"""

from __future__ import annotations

from sampan.container.status import cgroup_of
from sampan.container.store import RUNNING
from sampan.core.errors import SampanError
from sampan.doors.oci.documents import describe, indented
from sampan.linux import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry

NAME = "glance"
_SPECIAL = frozenset(" *?[\\~'\"")
"""What a shell does not take as it stands; all else that is printable, it does."""


def write(entry: Entry) -> None:
    """Writes the file for a container that was created just now; where that fails, Python answers."""
    run = entry.running
    if run is None:  # it ended already
        return
    frozen = cgroup_of(entry.container, entry.spec).frozen_file
    if not frozen.isprintable():  # it would not be one line
        return
    try:
        head = f"{run.pid} {run.start_time}\n{run.boot_id}\n{frozen}\n{_groups(entry)}\n"
        document = indented(describe(entry, RUNNING, run.pid))
        durable.write_file(f"{entry.folder}/{NAME}", f"{head}{document}\n".encode(), lasting=False)
    except SampanError:
        return


def _groups(entry: Entry) -> str:
    """A line of folders; an empty one where there is more to a deletion than to remove folders."""
    hooks = entry.spec.hooks
    own = cgroup_of(entry.container, entry.spec).folders
    more = entry.container.systemd_cgroup or (hooks is not None and hooks.poststop)
    if more or not _SPECIAL.isdisjoint("".join(own)):
        return ""
    return " ".join(own)
