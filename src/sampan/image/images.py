"""Images in the store: one manifest with its configuration, whatever the format; finding and listing them.

An `Image` answers what the rest of Sampan asks (what files there are, what starts, with what environment) in the
same words for a container image and for a Wasm artifact. It reads; it changes nothing and runs nothing.
"""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.digest import digest_of, parse_digest
from sampan.core.errors import Invalid, NotFound, SampanError
from sampan.core.reference import parse_reference
from sampan.core.spec.image import (
    ANNOTATION_CREATED,
    ANNOTATION_TITLE,
    SPIN_DATA_LAYER,
    WASM_LAYERS,
    ContainerConfig,
    ImageConfig,
    RootFS,
    platform_of,
)
from sampan.image.configs import parse_config, split_labels
from sampan.image.formats import TAR_LAYERS, check_format, kept_config, recognise
from sampan.image.layers import RootfsFile, RootfsLayer
from sampan.image.manifests import Resolved, resolve_manifest
from sampan.image.platforms import is_wasm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.image import Descriptor, Manifest, Platform
    from sampan.image.store import ContentStore

MIN_ID_PREFIX = 2
_HEX = frozenset("0123456789abcdef")
_CONTAINERS = ("oci", "docker", "runwasi")
_DEFAULT_FILE = "module.wasm"


class Image:
    """One manifest of the store, with its configuration.

    Attributes:
        name: the reference it was found by; empty if by id.
        descriptor: the manifest's. `raw`: its bytes. `manifest`: what they say.
        format: oci, docker, wasm-to-oci, cncf, runwasi, spin, artifact or unknown.
    """

    def __init__(self, store: ContentStore, resolved: Resolved, name: str = "") -> None:
        self.store = store
        self.name = name
        self.descriptor: Descriptor = resolved.descriptor
        self.raw: bytes = resolved.raw
        self.manifest: Manifest = resolved.manifest
        self.format = recognise(resolved.manifest)
        self._config: ImageConfig | None = None

    def __repr__(self) -> str:
        return f"Image({self.shown!r}, {self.format}, {self.descriptor.digest})"

    @property
    def shown(self) -> str:
        """How messages name it."""
        return self.name or self.id.partition(":")[2][:12]

    @property
    def id(self) -> str:
        """Docker's IMAGE ID: the configuration's digest; an artifact's manifest, for many share one config."""
        return self.manifest.config.digest if self.is_container else self.descriptor.digest

    @property
    def is_container(self) -> bool:
        """Whether its configuration is a container's."""
        return self.format in _CONTAINERS

    @property
    def size(self) -> int:
        """Bytes of everything in the store that it consists of, compressed as it is there."""
        parts = (self.descriptor, self.manifest.config, *self.manifest.layers)
        return sum({d.digest: d.size for d in parts}.values())

    @property
    def config(self) -> ImageConfig:
        """The checked configuration; made up from what there is for an artifact. `config` in it is never None.

        Raises:
            Invalid: a configuration that makes no sense or could do harm.
        """
        if self._config is None:
            self._config = self._read_config()
        return self._config

    @property
    def container_config(self) -> ContainerConfig:
        """What a container starts with."""
        return self.config.config or ContainerConfig()

    @property
    def platform(self) -> Platform:
        """The platform that the configuration declares."""
        return platform_of(self.config)

    @property
    def set_ids(self) -> bool:
        """Whether its set-user-id files mean something: nothing runs by them but Linux programs."""
        return self.platform.os == "linux" and not is_wasm(self.platform)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that a container gets; those that only runtimes may set are left out."""
        return split_labels(self.container_config.labels)[0]

    @property
    def annotations(self) -> dict[str, str]:
        """The manifest's annotations, without those that only runtimes may set."""
        return split_labels(self.manifest.annotations)[0]

    @property
    def reserved_labels(self) -> list[str]:
        """The names of the labels and annotations that were left out, to be mentioned in a log."""
        both = {**self.container_config.labels, **self.manifest.annotations}
        return split_labels(both)[1]

    @property
    def rootfs_layers(self) -> list[RootfsLayer]:
        """The tar layers, in order. A diff id is empty where the format declares none.

        Raises:
            Invalid: as many diff ids as layers are needed, and are not there.
            Unimplemented: a format that cannot be run.
        """
        check_format(self.manifest, self.format, self.shown)
        layers = [d for d in self.manifest.layers if d.media_type in TAR_LAYERS]
        declared = (self.config.rootfs or RootFS()).diff_ids if self.is_container else []
        if self.format == "runwasi" and len(declared) != len(layers):
            by_position = dict(zip([d.digest for d in self.manifest.layers], declared, strict=False))
            complete = len(declared) == len(self.manifest.layers)
            declared = [by_position[d.digest] if complete else "" for d in layers]
        if len(declared) != len(layers):
            raise Invalid(
                f"{self.shown} has {len(layers)} layers, but its config names {len(declared)} of them",
                fix="build or push the image again",
            )
        return [RootfsLayer(d, parse_digest(i) if i else "") for d, i in zip(layers, declared)]

    @property
    def files(self) -> list[RootfsFile]:
        """The layers that are files: modules, and a Spin application's data.

        Raises:
            Invalid, Unimplemented: as `rootfs_layers`.
        """
        check_format(self.manifest, self.format, self.shown)
        layers = [d for d in self.manifest.layers if d.media_type in (*WASM_LAYERS, SPIN_DATA_LAYER)]
        modules = [d for d in layers if d.media_type in WASM_LAYERS]
        files: list[RootfsFile] = []
        taken: set[str] = set()
        for layer in layers:
            path = safe_title(layer.annotations.get(ANNOTATION_TITLE, ""))
            if self.format == "runwasi" and len(modules) == 1 and layer is modules[0]:
                path = self._entry_file() or path
            path = _untaken(path or _DEFAULT_FILE, taken)
            taken.add(path)
            files.append(RootfsFile(path, layer))
        return files

    @property
    def chain_id(self) -> str:
        """What the root filesystem is named by: OCI's ChainID (config.md), carried on over the files."""
        chain = ""
        steps = [layer.diff_id or layer.descriptor.digest for layer in self.rootfs_layers]
        steps += [f"{file.descriptor.digest} {file.path}" for file in self.files]
        for step in steps:
            chain = digest_of(f"{chain} {step}".encode()) if chain else step
        return chain if len(chain) <= 71 and chain else digest_of(chain.encode())

    @property
    def entrypoint(self) -> list[str]:
        """The command without a user's words: `Entrypoint` then `Cmd`; an artifact's is its module's path."""
        container = self.container_config
        if self.is_container and self.format != "runwasi":
            return container.entrypoint + container.cmd
        if container.entrypoint:
            return container.entrypoint + container.cmd
        modules = [f.path for f in self.files if f.descriptor.media_type in WASM_LAYERS]
        if container.cmd:
            name = container.cmd[0].partition("#")[0]
            if {safe_title(name), safe_title(f"{container.working_dir}/{name}")}.intersection(modules):
                return list(container.cmd)
        return ["/" + module for module in modules[:1]] + container.cmd

    @property
    def media_type(self) -> str:
        """The media type that says most of what it is: the first Wasm layer's, else the configuration's."""
        wasm = [d.media_type for d in self.manifest.layers if d.media_type in WASM_LAYERS]
        return wasm[0] if wasm else self.manifest.config.media_type

    def read_raw_config(self) -> bytes:
        """The configuration's bytes as stored."""
        return self.store.read(self.manifest.config)

    def _entry_file(self) -> str:
        """The file that a runwasi image's entry point names, without `#function`."""
        words = self.container_config.entrypoint
        return safe_title(words[0].partition("#")[0]) if words else ""

    def _read_config(self) -> ImageConfig:
        what = self.shown
        if self.is_container:
            return parse_config(self.read_raw_config(), what)
        kept = kept_config(self.manifest)
        if kept is not None:
            return parse_config(strictjson.dumps(kept), what)
        created = self.manifest.annotations.get(ANNOTATION_CREATED, "")
        config = ImageConfig("wasm", "wasi", created, config=ContainerConfig(), rootfs=RootFS())
        if self.format == "cncf":
            own = ImageConfig.from_json(
                strictjson.loads(self.read_raw_config(), what=f"the config of {what}")
            )
            config = config.replace(os=own.os or "wasip1", created=own.created or created, author=own.author)
        return config


def safe_title(title: str) -> str:
    """A relative path made of a title that a stranger wrote: no `..`, no control characters; may be empty."""
    clean = "".join(c for c in title.replace("\\", "/") if c.isprintable())
    parts = [p[-255:] for p in clean.split("/") if p not in ("", ".", "..")]
    return "/".join(parts[-16:])


def _untaken(path: str, taken: set[str]) -> str:
    if path not in taken:
        return path
    stem, dot, suffix = path.rpartition(".")
    number = 2
    while f"{stem}-{number}{dot}{suffix}" in taken:
        number += 1
    return f"{stem}-{number}{dot}{suffix}"


def load_image(
    store: ContentStore, descriptor: Descriptor, name: str = "", wanted: Platform | None = None
) -> Image:
    """The image that `descriptor` leads to, through indexes by platform.

    Raises:
        NotFound: content is missing, or there is none for the platform.
        DataLoss, Invalid, Exhausted, Unimplemented: its documents are not what they should be.
    """
    return Image(store, resolve_manifest(store.read, descriptor, wanted, name or descriptor.digest), name)


def find_image(store: ContentStore, text: str, wanted: Platform | None = None) -> Image:
    """The image of a reference (`hello`, `host/name:tag@digest`), an id, or the unique beginning of an id.

    Raises:
        NotFound: there is none.
        Invalid: neither a reference nor an id, or a beginning that several ids share.
    """
    names = store.names()
    reference_error: SampanError | None = None
    try:
        reference = parse_reference(text)
    except Invalid as error:
        reference_error = error
    else:
        full = str(reference.tagged())
        if full in names:
            return load_image(store, names[full], full, wanted)
        if reference.digest:
            for name, descriptor in names.items():
                if descriptor.digest == reference.digest and parse_reference(name).name == reference.name:
                    return load_image(store, descriptor, name, wanted)
    digits = text.removeprefix("sha256:")
    if len(digits) >= MIN_ID_PREFIX and _HEX.issuperset(digits):
        found = {i.id: i for i in list_images(store, wanted) if _is_called(i, digits)}
        if len(found) > 1:
            ids = ", ".join(sorted(i.partition(":")[2][:12] for i in found))
            raise Invalid(
                f"several images have an id that begins with {digits[:64]}: {ids}", fix="give more of it"
            )
        if found:
            return next(iter(found.values()))
    if reference_error is not None:
        raise reference_error
    raise NotFound(f"there is no image {text[:120]} here", fix=f"get it with: sampan pull {text[:120]}")


def _is_called(image: Image, digits: str) -> bool:
    own = (image.id, image.descriptor.digest)
    return any(digest.partition(":")[2].startswith(digits) for digest in own)


def list_images(store: ContentStore, wanted: Platform | None = None) -> list[Image]:
    """All named images, by name. One whose content is missing or damaged is left out: `fsck` reports it."""
    images: list[Image] = []
    for name, descriptor in store.names().items():
        try:
            images.append(load_image(store, descriptor, name, wanted))
        except SampanError:
            continue
    return images


def chain_ids(store: ContentStore) -> list[str]:
    """What the root filesystems of all named images are named by; an image that cannot be run has none."""
    found = []
    for image in list_images(store):
        try:
            found.append(image.chain_id)
        except SampanError:
            continue
    return found
