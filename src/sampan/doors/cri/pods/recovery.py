"""What a server finds at its start: the pods and containers of the one before it, whatever moment that ended in.

A sandbox that was only being made goes: its caller was never told of it. What was being stopped or removed is as far as
it came, and its caller asks again. What cannot be read is listed all the same, by its id, until somebody removes it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from sampan.container import podspaces
from sampan.container.store import Containers, Entry, read_entry
from sampan.core.errors import NotFound, SampanError
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import (
    MAKING,
    STOPPING,
    Pod,
    PodContainer,
    encode,
    load_pod,
    load_pod_container,
    pods_folder,
    spaces_folder,
)
from sampan.doors.cri.pods.containers import KnownContainer
from sampan.doors.cri.pods.sandboxes import KnownPod
from sampan.doors.cri.pods.starts import settle
from sampan.linux import durable

if TYPE_CHECKING:
    from sampan.core.roots import Roots
    from sampan.doors.cri.pods.containers import PodContainers
    from sampan.doors.cri.pods.sandboxes import Pods

log = logging.getLogger(__name__)

ABANDON_SECONDS = 2.0  # for sandboxes that were only being made; what takes longer goes on beside the calls


def recover(roots: Roots, pods: Pods, containers: PodContainers) -> None:
    """Fills the empty indexes of pods and containers from disk, and takes away what was only begun.

    Raises:
        SampanError: a folder of ours cannot be read or written.
    """
    for folder in (roots.containers, pods_folder(roots)):
        durable.make_dir(folder)
    Containers(roots).sweep()
    found = sorted(_containers(roots), key=lambda known: known.record.created)
    settle([known.entry for known in found if known.entry is not None], roots)
    for known in found:
        containers.index.add(known.record.id, known.name, known)
    for pod in sorted(_pods(roots), key=lambda known: known.pod.created):
        pods.index.add(pod.pod.id, pod.pod.name, pod)
    _release_forgotten(roots, pods)
    _abandon_unmade(pods)


def _abandon_unmade(pods: Pods) -> None:
    """Takes sandboxes away that were only being made; plugins of the network that are slow do not hold up the start."""
    threads = []
    for known in pods.index.all():
        if known.pod.phase == MAKING:
            log.info("pod sandbox %s was being made when the server ended: it is removed", known.pod.id)
            threads.append(threading.Thread(target=pods.abandon, args=(known,), daemon=True))
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + ABANDON_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _pods(roots: Roots) -> list[KnownPod]:
    folder = pods_folder(roots)
    found = []
    for pod_id in os.listdir(folder):
        try:
            if _is_litter(f"{folder}/{pod_id}"):
                durable.remove_tree(f"{folder}/{pod_id}")
                continue
            found.append(KnownPod(load_pod(roots, pod_id)))
        except SampanError as error:
            log.error("pod sandbox %s is damaged: %s", pod_id, error)
            found.append(_broken_pod(roots, pod_id, error))
    return found


def _is_litter(folder: str) -> bool:
    """Whether it is what a removal left, or the folder of a sandbox of which nothing else was made."""
    if os.path.basename(folder).startswith("."):
        return True
    return all(name.startswith(durable.TEMPORARY) for name in os.listdir(folder))


def _broken_pod(roots: Roots, pod_id: str, error: SampanError) -> KnownPod:
    """A sandbox of which only the id is known: not ready, and to be stopped and removed like any other."""
    metadata = api.PodSandboxMetadata(name=pod_id, uid=pod_id)
    created = os.stat(f"{pods_folder(roots)}/{pod_id}").st_mtime_ns
    spaces = {kind: f"{spaces_folder(roots, pod_id)}/{kind}" for kind in podspaces.FLAGS}
    config = encode(api.PodSandboxConfig(metadata=metadata))
    return KnownPod(Pod(pod_id, STOPPING, created, "", "", "", config, spaces), str(error))


def _containers(roots: Roots) -> list[KnownContainer]:
    found = []
    for container_id in os.listdir(roots.containers):
        if not container_id.startswith("."):
            known = _container(f"{roots.containers}/{container_id}")
            if known is not None:
                found.append(known)
    return found


def _container(folder: str) -> KnownContainer | None:
    """The container in a folder, whatever of it can be read; None where it is no pod's."""
    entry: Entry | None = None
    record: PodContainer | None = None
    broken = ""
    try:
        entry = read_entry(folder)
        if not entry.container.pod:
            return None
    except SampanError as error:
        broken = str(error)
    try:
        record = load_pod_container(folder)
    except NotFound as error:
        if entry is None:  # nothing says that it is a pod's
            return None
        broken = str(error)
    except SampanError as error:
        broken = str(error)
    if broken:
        log.error("container %s is damaged: %s", os.path.basename(folder), broken)
    return KnownContainer(record or _record_of(folder, entry), entry, broken)


def _record_of(folder: str, entry: Entry | None) -> PodContainer:
    """What is known of a container without its record."""
    container_id = os.path.basename(folder)
    config = encode(api.ContainerConfig(metadata=api.ContainerMetadata(name=container_id)))
    if entry is None:
        return PodContainer(container_id, "", time.time_ns(), config)
    return PodContainer(container_id, entry.container.pod, entry.container.created, config)


def _release_forgotten(roots: Roots, pods: Pods) -> None:
    """Lets go of the namespaces of sandboxes whose records are gone, as after an older backup was put back."""
    folder = os.path.dirname(spaces_folder(roots, "-"))
    for pod_id in os.listdir(folder) if os.path.isdir(folder) else []:
        if pods.index.find(pod_id) is None:
            podspaces.release(f"{folder}/{pod_id}")
