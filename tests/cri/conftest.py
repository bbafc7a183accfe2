"""Pods on private roots: real namespaces, containers and zygotes; a network and an image of the tests' own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from sampan.container import podspaces
from sampan.core.errors import NotFound, SampanError
from sampan.core.spec.image import ContainerConfig, Platform
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import Pod
from sampan.doors.cri.images.documents import ImageForPod
from sampan.doors.cri.pods.runtime import Runtime
from sampan.doors.cri.specs.translation import make_container
from sampan.image.snapshots import Snapshots
from sampan.linux.locks import FileLock

from ..container.conftest import World, shared_code
from .peers import peers

__all__ = ["PodWorld", "peers", "shared_code"]

IMAGE = "localhost/toolbox:1"
DIGEST = "sha256:" + "5" * 64


class Network:
    """Remembers on disk who is attached, as CNI's plugins do; fails when told to."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.error: SampanError | None = None
        self.detach_error: SampanError | None = None
        os.makedirs(folder)

    @property
    def attached(self) -> list[str]:
        """The ids of pods."""
        return [name for name in os.listdir(self._folder) if name != "given"]

    def attach(self, pod: Pod) -> list[str]:
        assert podspaces.is_held(pod.netns)
        with open(f"{self._folder}/given", "a+") as given:
            number = given.tell() + 1
            given.write(".")
        with open(f"{self._folder}/{pod.id}", "x"):
            pass
        if self.error is not None:
            raise self.error
        return [f"10.9.0.{number}", f"fd00::{number}"]

    def detach(self, pod: Pod) -> None:
        if self.detach_error is not None:
            raise self.detach_error
        with suppress(FileNotFoundError):
            os.unlink(f"{self._folder}/{pod.id}")


class Images:
    """One image: the toolbox, unpacked."""

    def __init__(self, folder: str, rootfs: str) -> None:
        self._snapshots = Snapshots(folder)
        self._rootfs = rootfs

    def hold(self) -> FileLock:
        return self._snapshots.hold()

    def resolve_for_container(self, spec: api.ImageSpec) -> ImageForPod:
        if spec.image != IMAGE:
            raise NotFound(f"there is no image {spec.image}")
        config = ContainerConfig(entrypoint=["/toolbox.wasm"])
        ref = f"localhost/toolbox@{DIGEST}"
        return ImageForPod(
            DIGEST,
            IMAGE,
            ref,
            self._rootfs,
            config,
            ["/toolbox.wasm"],
            [],
            [],
            "application/vnd.oci.image.config.v1+json",
            Platform("wasm", "wasip1"),
        )


class PodWorld(World):
    """The roots of one node, and its runtime; `restart` gives it a new one, as after a kill."""

    def __init__(self, folder: object, code: object) -> None:
        super().__init__(folder, code)
        self.network = Network(f"{folder}/network")
        self.images = Images(f"{self.roots.images}/snapshots", str(self.rootfs()))
        self.runtime = self.restart()

    def restart(self) -> Runtime:
        self.runtime = Runtime(self.roots, {"wasm": "wasmtime"}, self.network, self.images, make_container)
        return self.runtime

    # -- requests

    def pod_config(self, name: str = "web", **fields: object) -> api.PodSandboxConfig:
        metadata = api.PodSandboxMetadata(name=name, namespace="default", uid=f"uid-{name}")
        given = {"metadata": metadata, "hostname": name, "labels": {"app": name}, **fields}
        return api.PodSandboxConfig(**given)  # type: ignore[arg-type]

    def run_pod(self, name: str = "web", **fields: object) -> str:
        request = api.RunPodSandboxRequest(config=self.pod_config(name, **fields), runtime_handler="wasm")
        return self.runtime.run_pod_sandbox(request).pod_sandbox_id

    def container_request(
        self, pod_id: str, *args: str, name: str = "main", attempt: int = 0, **fields: object
    ) -> api.CreateContainerRequest:
        metadata = api.ContainerMetadata(name=name, attempt=attempt)
        given = {"metadata": metadata, "image": api.ImageSpec(image=IMAGE), "args": args, **fields}
        config = api.ContainerConfig(**given)  # type: ignore[arg-type]
        return api.CreateContainerRequest(pod_sandbox_id=pod_id, config=config)

    def create(self, pod_id: str, *args: str, **fields: object) -> str:
        request = self.container_request(pod_id, *args, **fields)  # type: ignore[arg-type]
        return self.runtime.create_container(request).container_id

    def start_new(self, pod_id: str, *args: str, **fields: object) -> str:
        container_id = self.create(pod_id, *args, **fields)
        self.runtime.start_container(api.StartContainerRequest(container_id=container_id))
        return container_id

    def stop(self, container_id: str, timeout: int = 0) -> None:
        self.runtime.stop_container(api.StopContainerRequest(container_id=container_id, timeout=timeout))

    def status(self, container_id: str) -> api.ContainerStatus:
        return self.runtime.container_status(api.ContainerStatusRequest(container_id=container_id)).status

    def ended(self, container_id: str) -> api.ContainerStatus:
        """The status of a container, once it has exited."""
        from sampan.container import ending

        ending.wait(self.runtime.container(container_id), 30)
        return self.status(container_id)

    def pod_status(self, pod_id: str) -> api.PodSandboxStatus:
        return self.runtime.pod_sandbox_status(api.PodSandboxStatusRequest(pod_sandbox_id=pod_id)).status

    def stop_pod(self, pod_id: str) -> None:
        self.runtime.stop_pod_sandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod_id))

    def remove_pod(self, pod_id: str) -> None:
        self.runtime.remove_pod_sandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod_id))

    def pods(self, **wanted: object) -> list[api.PodSandbox]:
        request = api.ListPodSandboxRequest(filter=api.PodSandboxFilter(**wanted))  # type: ignore[arg-type]
        return list(self.runtime.list_pod_sandbox(request).items)

    def listed(self, **wanted: object) -> list[api.Container]:
        request = api.ListContainersRequest(filter=api.ContainerFilter(**wanted))  # type: ignore[arg-type]
        return list(self.runtime.list_containers(request).containers)

    # -- what is there

    def left(self) -> list[str]:
        """What of pods is on the disk, in the kernel and at the network; nothing once all were removed."""
        found = []
        for folder in (f"{self.roots.data}/pods", f"{self.roots.run}/pods", self.roots.containers):
            found += [f"{folder}/{name}" for name in os.listdir(folder)] if os.path.isdir(folder) else []
        found = [path for path in found if not path.endswith("/.lock")]
        with open("/proc/self/mountinfo") as file:
            found += [line for line in file if self.roots.run in line]
        return found + self.network.attached

    def close(self) -> None:
        self.network.detach_error = None
        for pod in self.restart().pods.index.all():
            self.remove_pod(pod.pod.id)
        super().close()
        assert self.left() == []


@pytest.fixture
def world(tmp_path: object, shared_code: object) -> Iterator[PodWorld]:
    world = PodWorld(tmp_path, shared_code)
    yield world
    world.close()
