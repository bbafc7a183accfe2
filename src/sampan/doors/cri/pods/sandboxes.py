"""Pod sandboxes: namespaces, a network and a record, and no process.

A sandbox is on disk, as one that is being made, before anything of it is made, and its record goes last: whenever the
server is killed, `recovery` or the next StopPodSandbox finds all that is to be given back. Stopping marks it first, so
nothing new begins in it meanwhile.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

from sampan.container import podspaces
from sampan.container.store import new_id
from sampan.core.errors import Invalid, NotFound, Precondition, SampanError
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import (
    MAKING,
    READY,
    STOPPED,
    STOPPING,
    Pod,
    encode,
    has_host_network,
    pod_name,
    pods_folder,
    save_pod,
    spaces_folder,
)
from sampan.doors.cri.filters import selects_pod
from sampan.doors.cri.pods import answers
from sampan.doors.cri.pods.index import Index
from sampan.doors.cri.specs.resources import parts_of
from sampan.doors.cri.specs.translation import check_pod
from sampan.linux import durable
from sampan.linux.cgroup_files import remove_if_empty
from sampan.linux.cgroups import Cgroup
from sampan.linux.processes import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sampan.core.roots import Roots

this_boot = functools.cache(boot_id)

log = logging.getLogger(__name__)


class Network(Protocol):
    """What gives pods their addresses."""

    def attach(self, pod: Pod) -> list[str]:
        """Connects a pod's network namespace; its addresses, the first one first."""

    def detach(self, pod: Pod) -> None:
        """Undoes `attach`, whether that came to its end or not, and whether the namespace is there or not."""


class KnownPod:
    """A sandbox in memory: its record, what lists tell of it, and the lock that each change of it holds.

    Attributes:
        broken: why its record cannot be read; then `pod` has its id alone.
    """

    def __init__(self, pod: Pod, broken: str = "") -> None:
        self.pod = pod
        self.broken = broken
        self.lock = threading.RLock()
        self.listed = answers.listed_pod(pod)

    @property
    def is_ready(self) -> bool:
        """Whether containers can be started in it: a reboot or the loss of its namespaces ends that, too."""
        pod = self.pod
        if pod.phase != READY or pod.boot_id != this_boot():
            return False
        return all(podspaces.is_held(path) for path in pod.spaces.values())

    def require_ready(self) -> None:
        """Does nothing for a sandbox that containers can be started in.

        Raises:
            Precondition: it is not ready.
        """
        if not self.is_ready:
            raise Precondition(f"pod sandbox {self.pod.id} is not ready")


class Pods:
    """All sandboxes below the roots.

    Args:
        handlers: the engines of the runtime handlers that are ours; empty for wasmtime.
        end_containers: stops the containers of the pod with an id; remove_containers: removes them.
    """

    def __init__(
        self,
        roots: Roots,
        handlers: Mapping[str, str],
        network: Network,
        end_containers: Callable[[str], None],
        remove_containers: Callable[[str], None],
    ) -> None:
        self._roots = roots
        self._handlers = handlers
        self._network = network
        self._end_containers = end_containers
        self._remove_containers = remove_containers
        self.index: Index[KnownPod] = Index("pod sandbox")

    def run(self, request: api.RunPodSandboxRequest) -> api.RunPodSandboxResponse:
        """Makes a sandbox; it is ready when this returns.

        Raises:
            Invalid: no metadata. NotFound: an unknown handler. Exists: there is one of this metadata, which is named.
            SampanError: what stopped it; nothing is left of it then.
        """
        config = request.config
        engine = self._engine(request.runtime_handler)
        if not config.HasField("metadata") or not config.metadata.name:
            raise Invalid("the pod sandbox has no metadata", fix="give metadata with a name")
        check_pod(config)
        pod_id = new_id()
        pod = Pod(
            pod_id,
            MAKING,
            time.time_ns(),
            this_boot(),
            request.runtime_handler,
            engine,
            encode(config),
            {kind: f"{spaces_folder(self._roots, pod_id)}/{kind}" for kind in _own_spaces(config)},
            makes_cgroup=self._makes_cgroup(config.linux.cgroup_parent),
        )
        with self.index.reserved(pod_name(config.metadata), pod.id):
            known = KnownPod(pod)
            try:
                self._begin(pod)
                self._make(known)
            except BaseException:
                self.abandon(known)
                raise
            self.index.add(pod.id, pod.name, known)
        return api.RunPodSandboxResponse(pod_sandbox_id=pod.id)

    def _engine(self, handler: str) -> str:
        """The engine of a handler; no name is the first one, where there is nobody else to run such pods."""
        handler = handler or next(iter(self._handlers), "")
        if handler not in self._handlers:
            known = ", ".join(sorted(filter(None, self._handlers))) or "none"
            raise NotFound(f"there is no runtime handler {handler!r}", fix=f"known handlers: {known}")
        return self._handlers[handler]

    def _makes_cgroup(self, parent: str) -> bool:
        """Whether a parent cgroup is there for pods of ours alone, so that it goes with the last of them."""
        folders = _cgroup_folders(parent)
        others = (known.pod for known in self.index.all())
        return bool(folders) and (
            not any(os.path.exists(folder) for folder in folders)
            or any(pod.makes_cgroup and pod.cgroup_parent == parent for pod in others)
        )

    def _begin(self, pod: Pod) -> None:
        """Puts a sandbox on disk of which nothing else is there yet."""
        durable.make_dir(f"{pods_folder(self._roots)}/{pod.id}")
        save_pod(self._roots, pod)

    def _make(self, known: KnownPod) -> None:
        pod = known.pod
        config = pod.config
        folder = spaces_folder(self._roots, pod.id)
        podspaces.make(folder, list(pod.spaces), dict(config.linux.sysctls), config.hostname)
        ips = self._network.attach(pod) if pod.netns else []
        self._change(known, phase=READY, ips=ips)

    def _change(self, known: KnownPod, **values: object) -> None:
        """Changes a sandbox's record, on disk first."""
        changed = known.pod.replace(**values)
        if not known.broken:
            save_pod(self._roots, changed)
        known.pod = changed

    def abandon(self, known: KnownPod) -> None:
        """Takes a sandbox away that was not made to its end; where that fails it stays, to be stopped and removed."""
        pod = known.pod
        with known.lock:
            try:
                self._give_back(pod)
                self._forget(pod)
                self.index.remove(pod.id, pod.name)
            except SampanError as error:
                log.error("pod sandbox %s was not made, and cannot be given back now: %s", pod.id, error)
                self.index.add(pod.id, pod.name, known)

    def stop(self, known: KnownPod) -> None:
        """Ends the sandbox's containers and gives its network back; no error where that has been done.

        Raises:
            SampanError: what stopped it; the sandbox is not ready all the same, and this can be called again.
        """
        with known.lock:
            self._stop(known)

    def _stop(self, known: KnownPod) -> None:
        pod = known.pod
        if pod.phase == STOPPED or self.index.find(pod.id) is None:  # somebody else did, or removed it
            return
        if pod.phase != STOPPING:
            self._mark(known, STOPPING)
        self._end_containers(pod.id)
        self._give_back(pod)
        self._mark(known, STOPPED)

    def _mark(self, known: KnownPod, phase: str) -> None:
        """Notes a phase on a sandbox's way out, which a full disk must not bar: what was done is seen without, too."""
        try:
            self._change(known, phase=phase)
        except SampanError as error:
            log.error("pod sandbox %s is %s, and that cannot be noted: %s", known.pod.id, phase, error)
            known.pod = known.pod.replace(phase=phase)

    def _give_back(self, pod: Pod) -> None:
        if pod.netns:
            self._network.detach(pod)
        podspaces.release(spaces_folder(self._roots, pod.id))

    def remove(self, known: KnownPod) -> None:
        """Removes a sandbox with its containers; no error where somebody else just did.

        Raises:
            SampanError: what stopped it; this can be called again.
        """
        with known.lock:
            pod = known.pod
            self._stop(known)
            self._remove_containers(pod.id)
            self._forget(pod)
            self.index.remove(pod.id, pod.name)

    def _forget(self, pod: Pod) -> None:
        if pod.makes_cgroup:
            for folder in _cgroup_folders(pod.cgroup_parent):
                remove_if_empty(folder)
        durable.remove_tree(f"{pods_folder(self._roots)}/{pod.id}")

    def list(self, wanted: api.PodSandboxFilter) -> api.ListPodSandboxResponse:
        """The sandboxes that a filter lets through, newest first."""
        response = api.ListPodSandboxResponse()
        for known in reversed(self.index.all()):
            if not selects_pod(wanted, known.listed):
                continue
            state = answers.pod_state(is_ready=known.is_ready)
            if wanted.HasField("state") and wanted.state.state != state:
                continue
            item = response.items.add()
            item.CopyFrom(known.listed)
            item.state = state
        return response

    def update(self, known: KnownPod, request: api.UpdatePodSandboxResourcesRequest) -> None:
        """Notes the resources that a pod has now; its cgroup is the caller's, who has changed it already.

        Raises:
            Precondition: it is not ready.
        """
        with known.lock:
            known.require_ready()
            config = known.pod.config
            if request.HasField("overhead"):
                config.linux.overhead.CopyFrom(request.overhead)
            if request.HasField("resources"):
                config.linux.resources.CopyFrom(request.resources)
            self._change(known, config_bytes=encode(config))


def _own_spaces(config: api.PodSandboxConfig) -> list[str]:
    """The kinds of namespaces that a sandbox has for itself."""
    options = config.linux.security_context.namespace_options
    kinds = [] if has_host_network(config) else ["net", "uts"]
    return kinds if options.ipc == api.NODE else [*kinds, "ipc"]


def _cgroup_folders(parent: str) -> list[str]:
    """The folders of a pod's parent cgroup, as `resources.cgroups_path_of` names it."""
    name = "/".join(parts_of(parent))
    return Cgroup(name, base="").files.all_folders() if name else []
