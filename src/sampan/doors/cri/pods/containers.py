"""The containers of pods: ordinary containers of the store, with what CRI says of them beside their documents.

A container of a pod runs once. What can change of it is read from its folder and the kernel each time; its record in
memory saves the reading of all the rest.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

from sampan.container import ending, starting
from sampan.container.events import publish_container
from sampan.container.logs import reopen
from sampan.container.records import State
from sampan.container.store import CREATED, RUNNING, Containers, new_id
from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, SampanError, TimedOut
from sampan.core.signals import number_of
from sampan.core.spec.runtime import User
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import POD_CONTAINER, Pod, PodContainer, encode, save_pod_container
from sampan.doors.cri.filters import selects_container
from sampan.doors.cri.pods import answers
from sampan.doors.cri.pods.index import Index
from sampan.doors.cri.pods.starts import fail_start, forget_start, mark_start
from sampan.doors.cri.pods.watching import Watch
from sampan.doors.cri.specs import resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.container.records import Container
    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Spec
    from sampan.doors.cri.images.documents import ImageForPod
    from sampan.doors.cri.pods.sandboxes import KnownPod
    from sampan.linux.locks import FileLock

    MakeContainer = Callable[[Pod, api.ContainerConfig, ImageForPod, str, Roots], tuple[Container, Spec]]

SIGKILL = 9
KILLED_SECONDS = 10.0  # as long as the kernel may take to end what was killed
OWN_LOG = "log.0"  # of a container whose caller names no file


class Images(Protocol):
    """Where the images of containers come from."""

    def hold(self) -> FileLock:
        """To be held from `resolve_for_container` until the container is on record."""

    def resolve_for_container(self, spec: api.ImageSpec) -> ImageForPod:
        """The image, with its root filesystem unpacked."""


class KnownContainer:
    """A container in memory: its record, what lists tell of it, and the lock of its start and its removal.

    Attributes:
        broken: why its documents cannot be read; then `record` has what is known all the same.
        entry: None where the container's own document is one of these.
    """

    def __init__(self, record: PodContainer, entry: Entry | None, broken: str = "") -> None:
        self.record = record
        self.entry = entry
        self.broken = broken
        self.lock = threading.Lock()
        self.listed = answers.listed_container(record)
        self._watch = Watch(entry)

    @property
    def name(self) -> str:
        """What no two containers have in common."""
        return container_name(self.record.pod, self.record.config.metadata)

    @property
    def state(self) -> State | None:
        """What is known of its run now; None where its documents cannot be read."""
        return None if self.broken else self._watch.state()

    def end_if_lost(self) -> None:
        """Ends what runs of it where its folder was taken away: without that nobody could find it any more."""
        run = self._watch.last_run
        if run is not None and self.entry is not None and not os.path.exists(self.entry.folder):
            ending.end_lost(run)

    def require_entry(self) -> Entry:
        """Its folder and documents.

        Raises:
            DataLoss: they cannot be read.
        """
        if self.entry is None or self.broken:
            raise DataLoss(f"container {self.record.id} is damaged: {self.broken}", fix="remove it")
        return self.entry


class PodContainers:
    """All containers of pods below the roots.

    Args:
        make_container: the container and its spec, of a pod, a config, an image, an id and the roots.
    """

    def __init__(self, roots: Roots, images: Images, make_container: MakeContainer) -> None:
        self._roots = roots
        self._images = images
        self._make_container = make_container
        self._store = Containers(roots)
        self.index: Index[KnownContainer] = Index("container")

    # -- one container's life

    def create(self, request: api.CreateContainerRequest, known_pod: KnownPod) -> api.CreateContainerResponse:
        """Makes a container in a sandbox.

        Raises:
            Invalid: no metadata or image, or a config that means nothing. Precondition: the sandbox is not ready.
            Exists: it has one of this name and attempt, which is named. SampanError: the image is not to be had, ...
        """
        config = request.config
        if not config.HasField("metadata") or not config.metadata.name:
            raise Invalid("the container has no metadata", fix="give metadata with a name")
        if not config.image.image:
            raise Invalid(f"the container {config.metadata.name} has no image")
        known_pod.require_ready()
        pod, container_id = known_pod.pod, new_id()
        name = container_name(pod.id, config.metadata)
        with self.index.reserved(name, container_id), self._images.hold():
            image = self._images.resolve_for_container(config.image)
            settled = self._with_images(config)
            container, spec = self._make_container(pod, settled, image, container_id, self._roots)
            container.log_path, container.log_folder = log_path_of(pod, config), pod.log_directory
            record = self._record(pod, config, image, container, spec)
            with known_pod.lock:  # who removes the sandbox takes this container with it, or there is none
                known_pod.require_ready()
                entry = self._store.create(container, spec, {POD_CONTAINER: record})
                self.index.add(container_id, name, KnownContainer(record, entry))
        publish_container(self._roots, container, "create")
        return api.CreateContainerResponse(container_id=container_id)

    def _with_images(self, config: api.ContainerConfig) -> api.ContainerConfig:
        """The config with the images of its mounts brought here, and named by our ids: others have other ones."""
        settled = api.ContainerConfig.FromString(config.SerializeToString())
        for mount in settled.mounts:
            if mount.image.image:
                mount.image.image = self._images.resolve_for_container(mount.image).id
        return settled

    def _record(
        self, pod: Pod, config: api.ContainerConfig, image: ImageForPod, container: Container, spec: Spec
    ) -> PodContainer:
        user = (spec.process.user if spec.process is not None else None) or User()
        return PodContainer(
            container.id,
            pod.id,
            container.created,
            encode(config),
            image.ref,
            image.id,
            container.log_path or f"{self._store.folder}/{container.id}/{OWN_LOG}",
            user.uid,
            user.gid,
            user.additional_gids,
        )

    def start(self, known: KnownContainer, known_pod: KnownPod) -> None:
        """Starts a created container; its workload runs when this returns.

        Raises:
            Precondition: it was started before, or its sandbox is not ready.
            SampanError: what stopped it; it has exited then, with reason StartError.
        """
        entry = known.require_entry()
        with known.lock:
            known_pod.require_ready()
            status = entry.status()
            if status != CREATED:
                raise Precondition(f"container {known.record.id} is {status}: it is started once only")
            mark_start(entry.folder)
            try:
                starting.start(entry, self._roots)
            except SampanError as error:
                fail_start(entry, str(error))
                raise
            finally:
                forget_start(entry.folder)
        if not known_pod.is_ready:  # it was stopped meanwhile, and did not find this one running yet
            self.stop(known, 0)
            known_pod.require_ready()

    def stop(self, known: KnownContainer, seconds: float) -> None:
        """Ends a container: by its stop signal, and by SIGKILL after some seconds or, with 0, at once.

        No error where it does not run.

        Raises:
            TimedOut: the kernel does not end it.
        """
        known.end_if_lost()
        entry = known.entry
        try:
            if entry is not None and not entry.is_alive():
                return
        except DataLoss:
            entry = None
        if entry is None:
            ending.end_broken(known.record.id, self._roots)
            return
        try:
            if seconds > 0:
                ending.kill(entry, self._roots, number_of(entry.container.stop_signal))
                if ending.wait(entry, seconds) is not None:
                    return
            ending.kill(entry, self._roots, SIGKILL)
            if ending.wait(entry, KILLED_SECONDS) is None:
                raise TimedOut(f"container {known.record.id} does not end", fix="try again")
        except (Precondition, NotFound):  # it ended by itself, or was removed
            return
        finally:
            publish_container(self._roots, entry.container, "stop")

    def remove(self, known: KnownContainer) -> None:
        """Ends and removes a container with all that it wrote; its log file is its caller's.

        Raises:
            SampanError: the kernel does not end it, or a file cannot be removed; this can be called again.
        """
        record = known.record
        with known.lock:
            self.stop(known, 0)
            try:
                if known.state is None:
                    ending.remove_broken(record.id, self._roots)
                else:
                    ending.remove(known.require_entry(), self._roots, force=True)
            except NotFound:  # somebody else did
                pass
            self.index.remove(record.id, known.name)

    def end_all(self, pod_id: str) -> None:
        """Ends the containers of a pod, at once."""
        for known in self.of_pod(pod_id):
            self.stop(known, 0)

    def remove_all(self, pod_id: str) -> None:
        """Removes the containers of a pod."""
        for known in self.of_pod(pod_id):
            self.remove(known)

    # -- what is told of them

    def of_pod(self, pod_id: str) -> list[KnownContainer]:
        return [known for known in self.index.all() if known.record.pod == pod_id]

    def list(self, wanted: api.ContainerFilter) -> api.ListContainersResponse:
        """The containers that a filter lets through, newest first."""
        self._forget_removed()
        response = api.ListContainersResponse()
        for known in reversed(self.index.all()):
            if not selects_container(wanted, known.listed):
                continue
            state = answers.container_state(known.state)
            if wanted.HasField("state") and wanted.state.state != state:
                continue
            item = response.containers.add()
            item.CopyFrom(known.listed)
            item.state = state
        return response

    def _forget_removed(self) -> None:
        """Forgets what `sampan rm` removed, or somebody who did not know better."""
        known = self.index.all()
        there = set(os.listdir(self._store.folder)) if known else set()
        for container in known:
            if container.record.id not in there:
                container.end_if_lost()
                self.index.remove(container.record.id, container.name)

    def status(self, known: KnownContainer) -> api.ContainerStatus:
        """What is known of a container; of one whose documents cannot be read, that it is UNKNOWN and why."""
        state = known.state
        if known.entry is None or state is None:
            return answers.broken_status(known.record, known.broken or "how it runs or ended cannot be read")
        return answers.container_status(known.record, state, known.entry.container.stop_signal)

    def info(self, known: KnownContainer) -> dict[str, str]:
        """What `crictl inspect` shows beside the status."""
        entry, state = known.entry, known.state
        if entry is None or state is None:
            return {}
        pid = state.running.target[0] if state.status == RUNNING and state.running is not None else 0
        return answers.container_info(known.record, entry, pid)

    # -- changes of one that is there

    def update(self, known: KnownContainer, wanted: api.LinuxContainerResources) -> None:
        """Changes what a container may use; what is 0 or empty in `wanted` stays.

        Raises:
            Precondition: it has ended, or uses more memory. Invalid: a value that means nothing.
        """
        entry = known.require_entry()
        with known.lock:
            resources.update(entry, wanted)
            config = known.record.config
            resources.merge_given(config.linux.resources, wanted)
            changed = known.record.replace(config_bytes=encode(config))
            save_pod_container(entry.folder, changed)
            known.record = changed

    def reopen_log(self, known: KnownContainer) -> None:
        """Has a running container write to a new file at its log path.

        Raises:
            Precondition: it does not run. SampanError: as `logs.reopen`.
        """
        entry = known.require_entry()
        if not entry.is_alive():
            raise Precondition(f"container {known.record.id} is not running")
        if entry.container.log_path:  # our own files are rotated by the container itself
            reopen(entry)


def container_name(pod_id: str, metadata: api.ContainerMetadata) -> str:
    """What no two containers have in common."""
    return f"{metadata.name}_{metadata.attempt} of pod sandbox {pod_id}"


def log_path_of(pod: Pod, config: api.ContainerConfig) -> str:
    """The file that a container's caller wants its log in; empty where no folder or no file is named.

    Raises:
        Invalid: it is not below the pod's folder.
    """
    if not pod.log_directory or not config.log_path:
        return ""
    parts = config.log_path.split("/")
    if config.log_path.startswith("/") or ".." in parts or not pod.log_directory.startswith("/"):
        raise Invalid(f"the log path {config.log_path[:80]!r} is not below the pod's log directory")
    return f"{pod.log_directory.rstrip('/')}/{config.log_path}"
