"""Finds a container's workload in its root filesystem, and says what it is. Loads nothing.

`args[0]` of the spec names the file; no slash, no suffix and no executable bit are ever required.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from sampan.core.detect import Clues, detect
from sampan.core.errors import Invalid, NotFound, SampanError, Unimplemented, from_os_error
from sampan.core.record import Record
from sampan.core.spec.runtime import Process, Root, Spec
from sampan.linux.paths import open_regular_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.detect import Verdict
    from sampan.core.spec.image import Platform

HEAD = 4096
HANDLER = "run.oci.handler"


class Entrypoint(Record):
    """The file that an `args[0]` names, and the export of it: `/app.wasm#greet`."""

    path: str
    export: str = ""


def parse_entrypoint(argument: str) -> Entrypoint:
    """`module.wasm#func` apart; the part behind the last `#` is the export."""
    path, mark, export = argument.rpartition("#")
    return Entrypoint(path, export) if mark and path else Entrypoint(argument)


def candidates(path: str, process: Process) -> list[str]:
    """Where a workload named `path` may be in the root filesystem, in order.

    No slash and no executable bit are ever required: a bare name is looked for in the working directory, in `/`
    and in the folders of PATH.
    """
    if path.startswith("/"):
        return [path]
    places = [process.cwd or "/", "/"]
    if "/" not in path:
        search = next((v[5:] for v in reversed(process.env) if v.startswith("PATH=")), "")
        places += [p for p in search.split(":") if p.startswith("/")]
    return list(dict.fromkeys(f"{place.rstrip('/')}/{path}" for place in places))


def open_workload(root: int, process: Process) -> tuple[int, Entrypoint]:
    """A descriptor of the file that `process.args[0]` names below `root`.

    Raises:
        Invalid: no arguments. NotFound: no such file (exit code 127).
    """
    if not process.args or not process.args[0]:
        raise Invalid("there is no command to run", fix="name one behind the image, or give the image a CMD")
    entrypoint = parse_entrypoint(process.args[0])
    last: NotFound | None = None
    for attempt in (entrypoint, Entrypoint(process.args[0])):
        for path in candidates(attempt.path, process):
            try:
                return open_regular_in_root(root, path), attempt
            except NotFound as error:
                last = error
    raise NotFound(
        f"{process.args[0]}: no such file in the container's root filesystem",
        fix="the command must name a file of the image",
        exit_code=127,
    ) from last


def open_file(path: str) -> int:
    """A descriptor of a plain file of the host.

    Raises:
        NotFound: none there (exit code 127). Denied: not readable. Invalid: a folder, device, pipe or socket.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        wrapped = from_os_error(error, f"open {path}")
        wrapped.exit_code = 127 if isinstance(error, FileNotFoundError) else 126
        raise wrapped from error
    if not S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Invalid(f"{path} is not a regular file, and what runs is one", exit_code=126)
    return fd


def clues_of(fd: int, name: str, spec: Spec) -> Clues:
    """What detection can know of an opened file and its bundle."""
    return Clues(
        handler=spec.annotations.get(HANDLER, ""),
        annotations=spec.annotations,
        head=os.pread(fd, HEAD, 0),
        name=name,
    )


def clues_of_bundle(spec: Spec, bundle: str) -> Clues:
    """What can be known of a bundle's workload from outside, before anything of the container is made.

    The root filesystem is looked at, and what the spec's binds will put there. A file that cannot be found or read
    leaves the annotations to decide, else the bundle is a Linux one.

    Args:
        bundle: the folder that relative paths of the spec count from.
    """
    fd = open_in_bundle(spec, bundle)
    name = spec.process.args[0] if spec.process is not None and spec.process.args else ""
    try:
        head = os.pread(fd, HEAD, 0) if fd >= 0 else None
    except OSError:
        head = None
    finally:
        if fd >= 0:
            os.close(fd)
    return Clues(
        handler=spec.annotations.get(HANDLER, ""), annotations=spec.annotations, head=head, name=name
    )


def verdict_of(spec: Spec, bundle: str) -> Verdict:
    """Whether a bundle is for us, or for the runtime for Linux containers."""
    return detect(clues_of_bundle(spec, bundle))


def is_linux(spec: Spec, rootfs: str, platform: Platform, media_type: str) -> bool:
    """Whether what the spec would run in an image's unpacked files is a Linux program.

    A command that is not there is not: its own error is better said by us.

    Args:
        platform, media_type: the image's.
    """
    clues = clues_of_bundle(spec.replace(root=Root(rootfs)), "/")
    clues.media_type = media_type
    clues.os, clues.architecture = platform.os, platform.architecture
    return clues.head is not None and detect(clues).kind == "linux"


def open_in_bundle(spec: Spec, bundle: str) -> int:
    """A descriptor of the workload's file, -1 where there is none."""
    process = spec.process
    if process is None or not process.args or not process.args[0] or spec.root is None:
        return -1
    for path in candidates(parse_entrypoint(process.args[0]).path, process):
        source, below = _place(path, spec)
        try:
            root = os.open(os.path.join(bundle, source), os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError):
            continue
        try:
            return open_regular_in_root(root, below) if below else _reopen(root)
        except (SampanError, OSError):
            continue
        finally:
            os.close(root)
    return -1


def _place(path: str, spec: Spec) -> tuple[str, str]:
    """The host's folder that a path of the container will be in, and the rest of the path; "" for a file itself."""
    assert spec.root is not None
    for mount in reversed(spec.mounts):
        target = "/" + mount.destination.strip("/")
        if mount.source.startswith("/") and (path == target or path.startswith(f"{target}/")):
            return mount.source, path[len(target) :]
    return spec.root.path, path


def _reopen(fd: int) -> int:
    if not S_ISREG(os.fstat(fd).st_mode):
        return -1
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def check_is_wasm(fd: int, name: str, spec: Spec) -> None:
    """Refuses what is no Wasm, with the evidence.

    Raises:
        Unimplemented: a Linux program. Invalid: junk.
    """
    verdict = detect(clues_of(fd, name, spec))
    if verdict.kind == "linux":
        raise Unimplemented(
            f"{name} is a Linux program, not WebAssembly ({verdict.evidence[-1]})",
            fix="make an image of it: those run too, in runc",
            exit_code=126,
        )
    if verdict.kind not in ("module", "component"):
        raise Invalid(f"{name} is not a wasm binary ({verdict.evidence[-1]})", exit_code=126)
