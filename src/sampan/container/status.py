"""What an OCI runtime says of a container, told from its records and the kernel (runtime.md, "State")."""

from __future__ import annotations

import os

from sampan.container.store import EXITED, RUNNING
from sampan.core.errors import SampanError
from sampan.core.spec.runtime import OCI_VERSION, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Container
    from sampan.container.store import Entry
    from sampan.core.spec.runtime import Spec
    from sampan.linux.cgroups import Cgroup

CREATING, CREATED, PAUSED, STOPPED = "creating", "created", "paused", "stopped"


def cgroup_of(container: Container, spec: Spec) -> Cgroup:
    """The cgroup that the spec names, else one of ours."""
    from sampan.linux import cgroups

    path = spec.linux.cgroups_path if spec.linux is not None else ""
    return cgroups.cgroup_of(path, container.id, systemd=container.systemd_cgroup)


def cgroup_at(entry: Entry) -> Cgroup:
    """A container's cgroup, also where its spec cannot be read any more: then where most have theirs."""
    from sampan.linux.cgroups import Cgroup

    try:
        return cgroup_of(entry.container, entry.spec)
    except SampanError:
        return Cgroup(entry.container.id)


def oci_state(entry: Entry) -> State:
    """The state of a container now; `pid` is 0 for one that is stopped or not yet there."""
    state = entry.state()
    run = state.running
    if state.status == RUNNING:
        assert run is not None  # it is what runs
        return state_document(entry, _status_alive(entry), run.pid)
    return state_document(entry, STOPPED if state.status == EXITED else CREATING, 0)


def _status_alive(entry: Entry) -> str:
    if not entry.has_begun():
        return CREATED
    return PAUSED if cgroup_of(entry.container, entry.spec).is_frozen() else RUNNING


def state_document(entry: Entry, status: str, pid: int, annotations: dict[str, str] | None = None) -> State:
    """The state as hooks get it."""
    container = entry.container
    if annotations is None:
        annotations = entry.spec.annotations
    return State(OCI_VERSION, container.id, status, container.bundle, pid, annotations)


def rootfs_path(entry: Entry) -> str:
    """The host's path of a bundle's root filesystem."""
    root = entry.spec.root
    return os.path.normpath(f"{entry.container.bundle}/{root.path}") if root is not None else ""
