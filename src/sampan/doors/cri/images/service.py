"""CRI's ImageService on our store, which the command line shares, and images as containers and mounts need them.

An image's id is the digest of its configuration, as Docker and containerd have it. Wasm artifacts of the wasm-to-oci
kind all have the configuration `{}`: one id would be one image to a kubelet, so theirs is the digest of the manifest.
Removing an image takes all its names, whichever it was called by, as containerd does.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sampan.container.events import publish
from sampan.container.lowers import lowers
from sampan.container.store import Containers
from sampan.core import strictjson
from sampan.core.errors import DataLoss, Invalid, NotFound, Unavailable, Unimplemented
from sampan.core.ports import NoProgress
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.images import certs_d
from sampan.doors.cri.images.auth import PullCredentials, credential_of, host_of
from sampan.doors.cri.images.documents import image_for_pod, image_message
from sampan.doors.cri.images.names import is_id, names_of, pulled_name
from sampan.doors.cri.images.pulls import Pulls
from sampan.doors.cri.measured import Measured
from sampan.image.images import Image, chain_ids, find_image, list_images
from sampan.image.registry.credentials import default_files
from sampan.image.registry.settings import load_settings
from sampan.image.registry.transfer import Registry
from sampan.image.snapshots import Snapshots
from sampan.image.store import ContentStore
from sampan.linux.diskusage import disk_usage
from sampan.linux.durable import make_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sampan.core.reference import Reference
    from sampan.core.roots import Roots
    from sampan.doors.cri.images.documents import ImageForPod
    from sampan.image.registry.answer import Patience
    from sampan.image.registry.credentials import Credential
    from sampan.image.registry.settings import Settings
    from sampan.linux.locks import FileLock

log = logging.getLogger(__name__)


def never() -> bool:
    """A caller that does not hang up."""
    return False


class Images:
    """The images of this machine, for a kubelet.

    Args:
        upstream: the address of the containerd behind us; empty for none.
        hosts: containerd's `certs.d`.
        env: says where settings and credentials of registries are, as for the command.
        patience: how long to wait for registries.
    """

    def __init__(
        self,
        roots: Roots,
        *,
        upstream: str = "",
        hosts: str = certs_d.FOLDER,
        env: Mapping[str, str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.roots = roots
        self.store = ContentStore(roots.images)
        self.snapshots = Snapshots(f"{roots.images}/snapshots")
        self._upstream = upstream
        self._hosts = hosts
        self._env = os.environ if env is None else env
        self._patience = patience
        self._pulls = Pulls()
        self._usage = Measured(lambda: disk_usage(roots.images))

    # -- what there is

    def list_images(self, request: api.ListImagesRequest) -> api.ListImagesResponse:
        """All images, or the one that the filter names."""
        wanted = request.filter.image.image
        images = by_id(list_images(self.store))
        if wanted:
            found = self._find(wanted)
            images = {found.id: images.get(found.id, [found])} if found is not None else {}
        tops, pinned = self.store.names(), self._pinned()
        return api.ListImagesResponse(images=[image_message(i, tops, pinned) for i in images.values()])

    def image_status(self, request: api.ImageStatusRequest) -> api.ImageStatusResponse:
        """One image; nothing for one that is not here. Verbose: also its configuration, as JSON under `info`.

        Raises:
            Invalid: no image is named.
        """
        found = self._find(_named(request.image))
        if found is None:
            return api.ImageStatusResponse()
        message = image_message(self._all_of(found), self.store.names(), self._pinned())
        info = {}
        if request.verbose:
            info["info"] = strictjson.dumps({"imageSpec": found.config}).decode()
        return api.ImageStatusResponse(image=message, info=info)

    def image_fs_info(self, _: api.ImageFsInfoRequest) -> api.ImageFsInfoResponse:
        """What images take. Images and containers are in one filesystem, so both are told the same place."""
        make_dir(self.roots.images)
        usage = self._usage.now()
        filesystem = api.FilesystemUsage(
            timestamp=time.time_ns(),
            fs_id=api.FilesystemIdentifier(mountpoint=self.roots.data),
            used_bytes=api.UInt64Value(value=usage.bytes),
            inodes_used=api.UInt64Value(value=usage.inodes),
        )
        return api.ImageFsInfoResponse(image_filesystems=[filesystem], container_filesystems=[filesystem])

    # -- pulling and removing

    def pull_image(
        self, request: api.PullImageRequest, is_cancelled: Callable[[], bool] = never
    ) -> api.PullImageResponse:
        """Brings an image in and unpacks it; callers that want the same at the same time share one pull.

        Args:
            is_cancelled: whether the caller has hung up. A pull that nobody waits for is given up.

        Raises:
            Invalid: no reference, or malformed credentials or settings.
            SampanError: as `Registry.pull` and `Snapshots.prepare`.
        """
        reference = pulled_name(_named(request.image))
        credential = credential_of(request.auth)
        host = host_of(request.auth, reference.registry)

        def work(check: Callable[[], None]) -> str:
            return self._pull(reference, host, credential, check)

        key = (str(reference), host, *credential.to_json().values())
        return api.PullImageResponse(image_ref=self._pulls.share(key, work, is_cancelled))

    def remove_image(self, request: api.RemoveImageRequest) -> api.RemoveImageResponse:
        """Takes all names of an image, and removes what nothing needs any more; one that is not here is fine."""
        found = self._find(_named(request.image))
        if found is not None:
            for image in self._all_of(found):
                with suppress(NotFound):  # somebody else removes it, too
                    self.store.untag(image.name)
            self._collect()
            publish(self.roots, "image", "delete", found.id, {})
        return api.RemoveImageResponse()

    # -- for containers

    def hold(self) -> FileLock:
        """A lock to hold from `resolve_for_container` until the container is on record: nothing is unpacked in vain."""
        return self.snapshots.hold()

    def resolve_for_container(self, spec: api.ImageSpec) -> ImageForPod:
        """An image for a container, or for a mount, unpacked: ours, else the upstream's, else pulled.

        Hold `hold()` meanwhile.

        Args:
            spec: `image` is what PullImage or ImageStatus told, or a name; `user_specified_image` what its user wrote.

        Raises:
            NotFound: nobody has it. SampanError: as `pull_image`.
        """
        image = self._here(spec) or self._from_upstream(spec) or self._from_registry(spec)
        rootfs = self.snapshots.prepare(self.store, image, _warn(image))
        return image_for_pod(image, self.store.names(), spec.user_specified_image or spec.image, rootfs)

    # -- the steps

    def _find(self, text: str) -> Image | None:
        try:
            return find_image(self.store, text)
        except (NotFound, Invalid):
            return None

    def _here(self, spec: api.ImageSpec) -> Image | None:
        """Our image of an ImageSpec; by its user's name first: an id is looked for in all images."""
        wanted, name = _named(spec), spec.user_specified_image
        named = self._find(name) if name else None
        return named if named is not None and named.id == wanted else self._find(wanted)

    def _all_of(self, image: Image) -> list[Image]:
        """The image under each of its names."""
        return [other for other in list_images(self.store) if other.id == image.id] or [image]

    def _pinned(self) -> set[str]:
        """The ids of images that containers of the command line use: of those a kubelet knows nothing."""
        return {e.container.image_id for e in Containers(self.roots).all() if not e.container.pod}

    def _pull(
        self, reference: Reference, host: str, credential: Credential, check: Callable[[], None]
    ) -> str:
        credentials = PullCredentials(host, credential, default_files(self._env))
        with Registry(self._settings(reference.registry), credentials, self._patience) as registry:
            registry.pull(reference, self.store, None, _Checked(check))
        image = find_image(self.store, str(reference))
        with self.snapshots.hold():
            self.snapshots.prepare(self.store, image, _warn(image))
        publish(self.roots, "image", "pull", reference.familiar, {"name": reference.familiar_name})
        return image.id

    def _settings(self, registry: str) -> Settings:
        settings = load_settings(self._env)
        certs_d.add_hosts(settings, self._hosts, registry)
        return settings

    def _from_upstream(self, spec: api.ImageSpec) -> Image | None:
        """The image out of the upstream's content store; None where it is not to be had there."""
        name, image_id = "".join(names_of(spec)[-1:]), spec.image if is_id(spec.image) else ""
        if not self._upstream or not (name or image_id):
            return None
        from sampan.doors.cri.images.upstream_content import UpstreamContent

        try:
            with UpstreamContent(self._upstream) as content:
                name = content.take(name, image_id, self.store)
        except (NotFound, Unavailable, Unimplemented, DataLoss) as error:
            log.info("the image %s is not taken from the upstream: %s", spec.image, error)
            return None
        return find_image(self.store, name)

    def _from_registry(self, spec: api.ImageSpec) -> Image:
        names = names_of(spec)
        if not names:
            raise NotFound(f"there is no image {spec.image}", fix="pull it by its name")
        self.pull_image(api.PullImageRequest(image=api.ImageSpec(image=names[-1])))
        return find_image(self.store, names[-1])

    def _collect(self) -> None:
        def in_use() -> list[str]:
            return [name.replace("-", ":", 1) for name in lowers(self.roots, self.snapshots.folder)]

        self.snapshots.prune(chain_ids(self.store), in_use)
        self.store.prune()


class _Checked(NoProgress):
    """Progress that nobody sees; looks meanwhile whether the pull is still wanted."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def start(self, key: str, label: str, total: int | None) -> None:
        self._check()

    def advance(self, key: str, done: int) -> None:
        self._check()


def by_id(images: list[Image]) -> dict[str, list[Image]]:
    """The images of each id: one, with several names."""
    found: dict[str, list[Image]] = {}
    for image in images:
        found.setdefault(image.id, []).append(image)
    return found


def _named(spec: api.ImageSpec) -> str:
    if not spec.image:
        raise Invalid("the call names no image")
    return spec.image


def _warn(image: Image) -> Callable[[str], None]:
    return lambda text: log.warning("the image %s: %s", image.shown, text)
