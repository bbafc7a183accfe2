"""What a container may use: CRI's `LinuxContainerResources` in the OCI specification's terms, and where its cgroup is.

In CRI, 0 and "" mean "not specified". config-linux.md, "Control groups"
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.container.status import cgroup_of
from sampan.container.store import EXITED, RUNNING, read_entry
from sampan.core import strictjson
from sampan.core.errors import Invalid, Precondition, Unimplemented
from sampan.core.spec.checks import check_range, check_text
from sampan.core.spec.linuxchecks import check_cgroups_path, check_resources
from sampan.core.spec.runtime import Cpu, HugepageLimit, Linux, Memory, Resources
from sampan.linux import cgroup_limits, cgroups, durable, privileges, systemd
from sampan.linux.files import read_file

if TYPE_CHECKING:
    from typing import TypeVar

    from sampan.container.store import Entry
    from sampan.core.record import Record
    from sampan.doors.cri.api import runtime_pb2 as api

    R = TypeVar("R", bound=Record)

PREFIX = "sampan"
LEAST_SCORE = -1000


def resources_of(given: api.LinuxContainerResources) -> Resources:
    """The limits as a spec has them; None and "" where nothing is specified.

    Raises:
        Invalid: a value that means nothing.
    """
    where = "linux.resources"
    for name in ("cpu_period", "cpu_shares"):
        check_range(getattr(given, name), 0, (1 << 63) - 1, f"{where}.{name}")
    for name in ("cpu_quota", "memory_limit_in_bytes", "memory_swap_limit_in_bytes"):
        check_range(getattr(given, name), -1, (1 << 63) - 1, f"{where}.{name}")
    cpu = Cpu(
        shares=given.cpu_shares or None,
        quota=given.cpu_quota or None,
        period=given.cpu_period or None,
        cpus=given.cpuset_cpus,
        mems=given.cpuset_mems,
    )
    resources = Resources(
        memory=_memory(given),
        cpu=cpu if cpu != Cpu() else None,
        hugepage_limits=_hugepages(given),
        unified=dict(given.unified),
    )
    check_resources(resources, where)
    cgroup_limits.check(resources)
    return resources


def _memory(given: api.LinuxContainerResources) -> Memory | None:
    limit, both = given.memory_limit_in_bytes, given.memory_swap_limit_in_bytes
    if both > 0 and limit <= 0:
        raise Invalid(
            f"linux.resources.memory_swap_limit_in_bytes is {both}, and the memory alone has no limit",
            fix="set memory_limit_in_bytes too",
        )
    if both == limit:  # no swap is what a limit means anyway, also where the kernel does not count swap
        both = 0
    return Memory(limit=limit or None, swap=both or None) if limit or both else None


def _hugepages(given: api.LinuxContainerResources) -> list[HugepageLimit]:
    """Those that are asked for; a kubelet sends a 0 for every size, also to a host that cannot limit them."""
    limited = _limits_hugepages()
    return [HugepageLimit(h.page_size, h.limit) for h in given.hugepage_limits if h.limit or limited]


def _limits_hugepages() -> bool:
    if os.path.isdir(f"{cgroups.ROOT}/hugetlb"):
        return True
    try:
        return b"hugetlb" in read_file(f"{cgroups.ROOT}/cgroup.controllers").split()
    except OSError:
        return False


def oom_score_adj_of(given: api.LinuxContainerResources) -> int:
    """How likely the kernel ends the container first, -1000 to 1000; no less than what this process may set.

    Raises:
        Invalid: out of range.
    """
    check_range(given.oom_score_adj, LEAST_SCORE, 1000, "linux.resources.oom_score_adj")
    return max(given.oom_score_adj, _least_score())


def _least_score() -> int:
    """Without CAP_SYS_RESOURCE, as on a node that is itself a container, no process goes below where it is."""
    if "CAP_SYS_RESOURCE" in privileges.own_capabilities():
        return LEAST_SCORE
    return int(read_file("/proc/self/oom_score_adj"))


def parts_of(parent: str) -> list[str]:
    """The folders, from the top of the hierarchy on, that a pod's `cgroup_parent` names; none for none."""
    return [part for part in parent.split("/") if part not in ("", ".")]


def is_systemds(parent: str) -> bool:
    """Whether systemd makes the cgroups of a pod: it runs, and the pod's `cgroup_parent` is a slice.

    A kubelet names slices only where its own cgroup driver is systemd's.
    """
    return parent.endswith(".slice") and os.path.isdir(systemd.RUNS)


def cgroups_path_of(parent: str, container_id: str) -> str:
    """The spec's `cgroupsPath` of a container in a pod.

    Args:
        parent: the pod's `cgroup_parent`: a path, or the name of a slice, which is a folder's like any other where no
            systemd runs.

    Raises:
        Invalid: it leads elsewhere.
    """
    where = "linux.cgroup_parent"
    check_text(parent, where)
    parts = parts_of(parent)
    if ".." in parts or not parent.isprintable():
        raise Invalid(f"{where} {parent[:80]!r} leads elsewhere, or has control characters in it")
    if is_systemds(parent):
        return f"{parts[-1]}:{PREFIX}:{container_id}"
    path = "/".join(["", *(parts or [cgroups.BASE]), container_id])
    check_cgroups_path(path)
    if len(path) > cgroups.LONGEST:
        raise Invalid(f"{where} {parent[:80]!r}… is too long")
    return path


def update(entry: Entry, given: api.LinuxContainerResources) -> None:
    """Changes what a container may use, at once if it runs, else from its start on; what is not specified stays.

    Raises:
        Precondition: it has ended; or more memory is in use than it may have now. Invalid: a value that means nothing.
        Unimplemented: this host cannot limit it.
    """
    wanted = resources_of(given)
    with entry.lock():
        status = entry.status()
        if status == EXITED:
            raise Precondition(f"container {entry.container.name} has ended: it cannot be updated")
        spec = read_entry(entry.folder).spec  # an update before this one may have changed it
        if status == RUNNING:
            cgroup = cgroup_of(entry.container, spec)
            cgroup.update(_checked_before(wanted))
            if cgroup.missing:
                raise Unimplemented(
                    f"this host has no way to limit {', '.join(cgroup.missing)} of the container"
                )
        linux = spec.linux or Linux()
        merged = merge(linux.resources or Resources(), wanted)
        cgroup_limits.check(merged)
        changed = spec.replace(linux=linux.replace(resources=merged))
        durable.write_file(f"{entry.folder}/config.json", strictjson.dumps(changed))


def _checked_before(wanted: Resources) -> Resources:
    """So that a limit below what is in use is an error, not the container's end."""
    memory = wanted.memory
    return wanted.replace(memory=memory.replace(check_before_update=True) if memory is not None else None)


def merge(old: Resources, new: Resources) -> Resources:
    """The limits after an update: what `new` does not specify is as it was; each size of huge pages by itself."""
    sizes = {page.page_size for page in new.hugepage_limits}
    return old.replace(
        memory=_merged(old.memory or Memory(), new.memory),
        cpu=_merged(old.cpu or Cpu(), new.cpu),
        hugepage_limits=[
            *(page for page in old.hugepage_limits if page.page_size not in sizes),
            *new.hugepage_limits,
        ],
        unified={**old.unified, **new.unified},
    )


def merge_given(old: api.LinuxContainerResources, new: api.LinuxContainerResources) -> None:
    """As `merge`, for what callers sent: writes what `new` specifies into `old`."""
    sizes = {page.page_size for page in new.hugepage_limits}
    kept = [page for page in old.hugepage_limits if page.page_size not in sizes]
    old.ClearField("hugepage_limits")
    old.hugepage_limits.extend(kept)
    old.MergeFrom(new)


def _merged(old: R, new: R | None) -> R:
    if new is None:
        return old
    return old.replace(**{n: v for n in type(new)._names if (v := getattr(new, n)) not in (None, "", False)})
