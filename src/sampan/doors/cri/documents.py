"""What is kept on disk of pods and of what CRI says of their containers.

A pod is a folder `{data}/pods/ID` with `pod.json`; what a reboot takes of it (the files that hold its namespaces) is in
`{run}/pods/ID`. A container of a pod is an ordinary container of the store, with `cri.json` beside its other documents.
What a caller sent is kept as it came, in the API's own encoding, so nothing of it is lost on the way to disk.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from typing import TypeVar

from google.protobuf.message import DecodeError

from sampan.core import strictjson
from sampan.core.errors import DataLoss, Exhausted, Invalid, NotFound, from_os_error
from sampan.core.record import Record
from sampan.core.roots import Roots
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.linux import durable
from sampan.linux.files import read_file

POD, POD_CONTAINER = "pod.json", "cri.json"
MAKING, READY, STOPPING, STOPPED = "making", "ready", "stopping", "stopped"


class Pod(Record, json={"config_bytes": "config"}):
    """A pod sandbox.

    Attributes:
        phase: making (not all of it is there), ready, stopping (not all of it was given back) or stopped.
        created: ns since 1970. boot_id: of the boot that it was made in; with another one it is not ready any more.
        handler: as the caller named it. engine: what runs its WebAssembly; empty for wasmtime.
        config_bytes: the `PodSandboxConfig` in base64.
        spaces: the paths of its own namespaces by kind: net, ipc, uts. One that is not there is the host's.
        ips: its addresses, the first one first; none in the host's network.
        makes_cgroup: its parent cgroup was not there before it, or before another one of ours that is in it.
    """

    id: str
    phase: str
    created: int
    boot_id: str
    handler: str
    engine: str
    config_bytes: str
    spaces: dict[str, str] = {}
    ips: list[str] = []
    makes_cgroup: bool = False

    @property
    def config(self) -> api.PodSandboxConfig:
        """What RunPodSandbox was given; a copy."""
        return api.PodSandboxConfig.FromString(b64decode(self.config_bytes))

    @property
    def name(self) -> str:
        """What no two pods have in common: the parts of the metadata, as `pod_name` joins them."""
        return pod_name(self.config.metadata)

    @property
    def hostname(self) -> str:
        return self.config.hostname

    @property
    def log_directory(self) -> str:
        return self.config.log_directory

    @property
    def cgroup_parent(self) -> str:
        return self.config.linux.cgroup_parent

    @property
    def netns(self) -> str:
        """The path of its network namespace; empty for the host's."""
        return self.spaces.get("net", "")

    @property
    def has_host_network(self) -> bool:
        return has_host_network(self.config)


class PodContainer(Record, json={"config_bytes": "config"}):
    """What CRI says of a container.

    Attributes:
        pod: the sandbox's id. config_bytes: the `ContainerConfig` in base64, with the resources as they are now.
        image_ref: the digested reference, image_id: the id, of the image that it runs.
        log_path: the file that a caller reads its log in.
        user, group, groups: as whom its process begins; `user` is -1 where nobody knows.
    """

    id: str
    pod: str
    created: int
    config_bytes: str
    image_ref: str = ""
    image_id: str = ""
    log_path: str = ""
    user: int = -1
    group: int = 0
    groups: list[int] = []

    @property
    def config(self) -> api.ContainerConfig:
        """What CreateContainer was given; a copy."""
        return api.ContainerConfig.FromString(b64decode(self.config_bytes))


D = TypeVar("D", Pod, PodContainer)


def encode(message: api.PodSandboxConfig | api.ContainerConfig) -> str:
    """A message as a record keeps it."""
    return b64encode(message.SerializeToString()).decode()


def has_host_network(config: api.PodSandboxConfig) -> bool:
    return config.linux.security_context.namespace_options.network == api.NODE


def pod_name(metadata: api.PodSandboxMetadata) -> str:
    """What no two pods have in common. No part has an underscore in Kubernetes."""
    return "_".join((metadata.name, metadata.namespace, metadata.uid, str(metadata.attempt)))


def pods_folder(roots: Roots) -> str:
    return f"{roots.data}/pods"


def spaces_folder(roots: Roots, pod_id: str) -> str:
    """Where the files that hold a pod's namespaces are."""
    return f"{roots.run}/pods/{pod_id}"


def save_pod(roots: Roots, pod: Pod) -> None:
    """Writes a pod's document, durably.

    Raises:
        SampanError: Exhausted (also: it could not be read again), Denied, DataLoss, ...
    """
    data = strictjson.document(pod, "the configuration of the pod sandbox")
    durable.write_file(f"{pods_folder(roots)}/{pod.id}/{POD}", data)


def load_pod(roots: Roots, pod_id: str) -> Pod:
    """A pod's document.

    Raises:
        NotFound: there is none. DataLoss: it cannot be read.
    """
    path = f"{pods_folder(roots)}/{pod_id}/{POD}"
    pod = _load(path, Pod)
    if pod.id != pod_id:
        raise DataLoss(f"{path} is the document of another pod")
    return pod


def save_pod_container(folder: str, record: PodContainer) -> None:
    """Writes `cri.json` in a container's folder, durably.

    Raises:
        SampanError: Exhausted (also: it could not be read again), Denied, NotFound (the folder), DataLoss.
    """
    data = strictjson.document(record, "the configuration of the container")
    durable.write_file(f"{folder}/{POD_CONTAINER}", data)


def load_pod_container(folder: str) -> PodContainer:
    """What CRI says of the container in `folder`.

    Raises:
        NotFound: nothing: it is no pod's. DataLoss: it cannot be read.
    """
    path = f"{folder}/{POD_CONTAINER}"
    record = _load(path, PodContainer)
    if record.id != os.path.basename(folder):
        raise DataLoss(f"{path} is the document of another container")
    return record


def _load(path: str, kind: type[D]) -> D:
    try:
        record = kind.from_json(strictjson.loads(read_file(path, strictjson.MAX_BYTES), what=path))
        _ = record.config
    except FileNotFoundError as error:
        raise NotFound(f"{path} is missing") from error
    except OSError as error:
        raise from_os_error(error, "read a pod's document") from error
    except (Invalid, Exhausted) as error:
        raise DataLoss(f"{path} cannot be read: {error.message}") from error
    except (ValueError, DecodeError) as error:  # base64, or what it holds
        raise DataLoss(f"{path} cannot be read: its config is damaged") from error
    return record
