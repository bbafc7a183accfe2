"""`build`: a Dockerfile and a context to an image in the store, the same bytes for the same input.

Runs nothing: RUN is refused by the parser. With an epoch (SOURCE_DATE_EPOCH) two builds have the same digest. An
image of this host's platform comes out unless another is asked for, so that Docker, podman and containerd pull a
Wasm image without being asked for a platform.
"""

from __future__ import annotations

from sampan.core.errors import Invalid, NotFound
from sampan.core.spec.image import ANNOTATION_COMPAT, CNCF_LAYER, ContainerConfig
from sampan.core.units import rfc3339
from sampan.image.build.context import Context
from sampan.image.build.dockerfile import parse_dockerfile
from sampan.image.build.ignore import Ignore
from sampan.image.build.multistage import Build
from sampan.image.build.options import Options, check_options, config_for, created_at, finish
from sampan.image.component import check_wasm
from sampan.image.convert import COMPAT
from sampan.image.formats import CONTAINER_FORMATS, write_container, write_wasm
from sampan.image.keeping import keep
from sampan.image.layers import RootfsFile
from sampan.image.layerwriter import file_entry, write_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.image.build.multistage import Resolve
    from sampan.image.images import Image
    from sampan.image.store import ContentStore

NAMES = ("Containerfile", "Dockerfile")


def build(
    store: ContentStore,
    context_folder: str,
    options: Options,
    *,
    resolve: Resolve,
    dockerfile: str = "",
    warn: Callable[[str], None] = lambda text: None,
) -> Image:
    """Build what a Dockerfile describes.

    Args:
        context_folder: where COPY takes files from.
        resolve: gives the image that a FROM or `--from` names, pulled if need be.
        dockerfile: its path, relative to the working folder; a Containerfile or Dockerfile of the context if empty.
        warn: told what is odd but no error.

    Raises:
        Invalid, Unimplemented: the Dockerfile; the message begins with `file:line`.
        NotFound: no Dockerfile, or a file, stage or image that it names.
        Precondition: the format cannot hold what was built.
    """
    check_options(options)
    with Context(context_folder) as context, store.lease() as lease:
        path, text = _read_dockerfile(context, dockerfile)
        parsed = parse_dockerfile(text, path)
        context.ignore = _read_ignore(context, path)
        return Build(store, lease, context, parsed, options, resolve, warn).run()


def build_module(
    store: ContentStore,
    path: str,
    options: Options,
    container: ContainerConfig | None = None,
) -> Image:
    """Build an image straight from a Wasm file: the file in the root, and itself as the entry point.

    Args:
        path: of the `.wasm` file. `container`: environment and the like; an entry point in it is replaced.

    Raises:
        Invalid: not Wasm; the message says what it is. NotFound: no such file.
    """
    check_options(options)
    if options.target or options.build_args:
        raise Invalid("a build from a .wasm file has no stages and no build arguments")
    name = path.rpartition("/")[2]
    created = created_at(options)
    with store.lease() as lease:
        descriptor = store.put_file(path, CNCF_LAYER)
        keep(store, lease, [descriptor.digest])
        with store.open(descriptor.digest) as blob:
            check_wasm(blob.read(64), path)
        file = RootfsFile(name, descriptor)
        container = (container or ContainerConfig()).replace(entrypoint=[f"/{name}"])
        container.labels.update(options.labels)
        config = config_for(options, rfc3339(created), container)
        if options.format in CONTAINER_FORMATS:
            layer = write_layer(store, [file_entry(store, file, created // 10**9)], options.epoch)
            keep(store, lease, [layer.descriptor.digest])
            annotations = {ANNOTATION_COMPAT: COMPAT, **options.annotations}
            done = write_container(store, [layer], config, annotations, docker=options.format == "docker")
        else:
            done = write_wasm(store, options.format, [file], config, options.annotations)
        return finish(store, lease, done, options)


def _read_dockerfile(context: Context, path: str) -> tuple[str, str]:
    if path:
        folder, _, name = path.rpartition("/")
        with Context(folder or ("/" if path.startswith("/") else ".")) as other:
            return path, other.read_text(name)
    for name in NAMES:
        if context.lookup(name) is not None:
            return name, context.read_text(context.resolve(name))
    raise NotFound(f"{context.folder} has no {' and no '.join(NAMES)}", fix="name one with -f")


def _read_ignore(context: Context, dockerfile: str) -> Ignore:
    for name in (f"{dockerfile}.dockerignore", ".containerignore", ".dockerignore"):
        if not name.startswith("/") and context.lookup(name) is not None:
            return Ignore(context.read_text(context.resolve(name)), name)
    return Ignore()
