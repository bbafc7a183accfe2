"""Finds a container's workload in its root filesystem and loads it, before the process jails itself."""

from __future__ import annotations

import os
from stat import S_ISREG

from sampan.core.detect import Clues, detect
from sampan.core.errors import Invalid, NotFound, Unimplemented, from_os_error
from sampan.core.record import Record
from sampan.core.spec.runtime import Process, Spec
from sampan.engine.cache import CodeCache
from sampan.engine.grants import Grants, Limits, Network
from sampan.engine.program import Engine
from sampan.linux.paths import open_regular_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.walls import World
    from sampan.core.roots import Roots
    from sampan.engine.program import Program

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


def load(world: World, roots: Roots, engine: Engine | None) -> tuple[Program, Grants]:
    """The container's program, and what it is granted.

    Args:
        engine: one that is there already; used where it can hold the container's limits.

    Raises:
        Unimplemented: it is a Linux program. Invalid: neither that nor Wasm. Both name the evidence.
    """
    container, spec = world.container, world.spec
    process = spec.process or Process()
    if container.module:
        entrypoint = parse_entrypoint(process.args[0]) if process.args else Entrypoint(container.module)
        fd = open_file(container.module)
    else:
        fd, entrypoint = open_workload(world.root, process)
    limits = container.limits or Limits()
    try:
        check_is_wasm(fd, entrypoint.path, spec)
        if engine is None or not engine.fits(limits):
            engine = Engine.for_limits(limits)
        cache = CodeCache(roots.code, f"{roots.run}/code")
        program = engine.load(fd, entrypoint.export, cache, entrypoint.path)
    finally:
        os.close(fd)
    args = [entrypoint.path, *process.args[1:]]
    return program, Grants(args, process.env, world.preopens, container.network or Network(), limits)


def check_is_wasm(fd: int, name: str, spec: Spec) -> None:
    """Refuses what is no Wasm, with the evidence.

    Raises:
        Unimplemented: a Linux program. Invalid: junk.
    """
    verdict = detect(clues_of(fd, name, spec))
    if verdict.kind == "linux":
        raise Unimplemented(
            f"{name} is a Linux program, not WebAssembly ({verdict.evidence[-1]})",
            fix="run it with docker or podman",
            exit_code=126,
        )
    if verdict.kind not in ("module", "component"):
        raise Invalid(f"{name} is not a wasm binary ({verdict.evidence[-1]})", exit_code=126)
