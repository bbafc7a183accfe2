"""The process behind `layers`: finds the layer that a container of containerd runs, and prints it as JSON.

What formats there are and what they mean is the image room's business; documents come from containerd. The layer's
bytes are read where containerd keeps them; a copy of ours is made only where that folder cannot be seen from here.
"""

from __future__ import annotations

import hashlib
import os

from sampan.core import strictjson
from sampan.core.digest import digest_of, parse_digest
from sampan.core.errors import (
    DataLoss,
    Exhausted,
    Internal,
    Invalid,
    NotFound,
    SampanError,
    Unimplemented,
)
from sampan.core.reference import parse_reference
from sampan.core.roots import Roots
from sampan.core.spec.image import DOCKER_CONFIG, OCI_CONFIG, WASM_LAYERS
from sampan.doors.shim.layers import Answer, Layer
from sampan.engine.cache import CodeCache
from sampan.image.images import Image, safe_title
from sampan.image.manifests import resolve_manifest
from sampan.linux.durable import make_dir, replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.core.digest import Digest
    from sampan.core.spec.image import Descriptor
    from sampan.doors.shim.layers_containerd import Containerd
    from sampan.image.layers import RootfsFile

MOST_DOCUMENT = 4 << 20
MOST_MODULE = 1 << 30
MOST_COPIES = 64
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def main(words: list[str]) -> int:
    """Prints an `Answer`. `words`: see `layers.ask`."""
    address, namespace, container_id, asked, data, run, *names = words
    try:
        from sampan.doors.shim.layers_containerd import Containerd

        with Containerd(address, namespace) as containerd:
            image = _image(containerd, container_id, asked)
            answer = Answer(None if image is None else _layer(containerd, image, names, Roots(data, run)))
    except SampanError as error:
        answer = Answer(None, [error.kind, error.message, error.fix])
    except Exception as error:  # a fault of ours, or of the installation, is told, too
        answer = Answer(
            None, [Internal.kind, f"containerd cannot be asked: {type(error).__name__}: {error}", ""]
        )
    os.write(1, strictjson.dumps(answer))
    os.close(1)  # who waits for it need not wait for the interpreter's end
    return 0


def _image(containerd: Containerd, container_id: str, asked: str) -> Image | None:
    """The container's image, when it has Wasm layers or is no container image at all."""
    name, target = _target(containerd, container_id, asked)
    if target is None:
        return None
    documents: Any = Documents(containerd, name)
    resolved = resolve_manifest(documents.read, target, None, name)
    has_wasm = any(layer.media_type in WASM_LAYERS for layer in resolved.manifest.layers)
    if not has_wasm and resolved.manifest.config.media_type in (OCI_CONFIG, DOCKER_CONFIG):
        return None
    return Image(documents, resolved, name)


def _target(containerd: Containerd, container_id: str, asked: str) -> tuple[str, Descriptor | None]:
    """The image's name, and what it points at; None for a container that has no image.

    What a pod asked for comes first: the CRI plugin takes images with one configuration for one image, which all of
    wasm-to-oci's have, so that its container may be of another's.
    """
    if asked:
        try:
            name = str(parse_reference(asked).tagged())
            return name, containerd.target(name)
        except (Invalid, NotFound):  # a digest, or a name that is no longer there
            pass
    name = containerd.image_of(container_id)
    return name, containerd.target(name) if name else None


def _layer(containerd: Containerd, image: Image, names: list[str], roots: Roots) -> Layer:
    file = _module(image, names)
    layer = Layer(
        path=Blobs(containerd, roots).path(file.descriptor),
        digest=file.descriptor.digest,
        media_type=file.descriptor.media_type,
        name=file.path,
        image=image.name,
        command=image.entrypoint,
    )
    if not image.is_container:
        layer.env, layer.working_dir = image.container_config.env, image.container_config.working_dir
    return layer


def _module(image: Image, names: list[str]) -> RootfsFile:
    """The module that a container's command means: the only one, else the one that it names."""
    if image.format == "spin":
        raise Unimplemented(f"{image.shown} is a Spin application", fix="run it with Spin's shim")
    modules = [file for file in image.files if file.descriptor.media_type in WASM_LAYERS]
    if len(modules) == 1:
        return modules[0]
    for name in names:
        for file in modules:
            if file.path == safe_title(name):
                return file
    there = ", ".join(f"/{file.path}" for file in modules[:20])
    asked = " or ".join(names[:4]) or "named"
    raise Invalid(
        f"{image.shown} has {len(modules)} modules, and none of them is {asked}", fix=f"name one of {there}"
    )


class Documents:
    """Manifests and configurations of containerd's content store, by descriptor, each checked."""

    def __init__(self, containerd: Containerd, image: str) -> None:
        self._containerd = containerd
        self._image = image

    def read(self, descriptor: Descriptor) -> bytes:
        """The content that a descriptor describes.

        Raises:
            NotFound: containerd does not have it. DataLoss: it has something else. Exhausted: more than 4 MiB.
        """
        digest = parse_digest(descriptor.digest)
        data = bytearray()
        try:
            for piece in self._containerd.stream(digest):
                data += piece
                if len(data) > MOST_DOCUMENT:
                    raise Exhausted(f"a document of {self._image} has more than {MOST_DOCUMENT} bytes")
        except NotFound as error:
            raise NotFound(
                f"containerd has not all of the image {self._image}: {digest} is missing",
                fix="pull it again, with --platform wasi/wasm where it has that platform",
            ) from error
        if digest_of(bytes(data), digest.algorithm) != digest:
            raise DataLoss(
                f"a document of {self._image} is not that of its digest {digest}", fix="pull it again"
            )
        return bytes(data)


class Blobs:
    """Files of this host with content of containerd's."""

    def __init__(self, containerd: Containerd, roots: Roots) -> None:
        self._containerd = containerd
        self._cache = CodeCache(roots.code, f"{roots.run}/code")
        self._copies = f"{roots.data}/layers"

    def path(self, descriptor: Descriptor) -> str:
        """A file with the content, which was checked: containerd's own, else a copy of ours.

        Raises:
            NotFound: containerd does not have it. Exhausted: too large, or no space for it. DataLoss: other bytes.
        """
        digest = parse_digest(descriptor.digest)
        if descriptor.size > MOST_MODULE:
            raise Exhausted(
                f"the layer {digest} has {descriptor.size} bytes, more than the {MOST_MODULE} allowed"
            )
        root = self._containerd.content_root()
        for folder in (f"{root}/blobs/{digest.algorithm}" if root else "", self._copies):
            path = f"{folder}/{digest.hex}"
            if folder and self._is_good(path, digest, descriptor.size):
                return path
        return self._copy(digest, descriptor.size)

    def _is_good(self, path: str, digest: Digest, size: int) -> bool:
        """Whether the file has this content; one that has been looked through before is not read again."""
        try:
            fd = os.open(path, _READ)
        except OSError:
            return False
        try:
            if os.fstat(fd).st_size != size:
                return False
            if digest.algorithm == "sha256":
                return self._cache.digest(fd) == digest.hex
            with os.fdopen(os.dup(fd), "rb") as file:
                return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hex
        finally:
            os.close(fd)

    def _copy(self, digest: Digest, size: int) -> str:
        make_dir(self._copies)
        path = f"{self._copies}/{digest.hex}"
        hasher, left = hashlib.new(digest.algorithm), size
        with replace_file(path, 0o400) as file:
            for piece in self._containerd.stream(digest):
                hasher.update(piece)
                left -= len(piece)
                if left < 0:
                    break
                file.write(piece)
            if left or hasher.hexdigest() != digest.hex:
                raise DataLoss(
                    f"containerd's layer {digest} has other bytes than its digest says",
                    fix="pull the image again",
                )
        self._forget_old()
        return path

    def _forget_old(self) -> None:
        """Keeps the newest copies; an older one is fetched again when it is asked for."""
        try:
            copies = sorted(os.scandir(self._copies), key=lambda entry: entry.stat().st_mtime_ns)
            for entry in copies[:-MOST_COPIES]:
                os.unlink(entry.path)
        except OSError:
            pass  # somebody else does the same, or it has to wait
