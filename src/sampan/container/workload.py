"""Loads a container's workload, before the process jails itself."""

from __future__ import annotations

import os

from sampan.container.environment import with_home, with_working_directory
from sampan.container.finding import Entrypoint, check_is_wasm, open_file, open_workload, parse_entrypoint
from sampan.core.record import Record
from sampan.core.spec.runtime import Process
from sampan.engine.cache import CodeCache
from sampan.engine.grants import Grants, Limits, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.walls import World
    from sampan.core.roots import Roots
    from sampan.engine.program import Engine, Program


class Source(Record):
    """A workload that was found: its open file, readable, and what its name said."""

    fd: int
    entrypoint: Entrypoint


def find(world: World) -> Source:
    """The container's workload.

    Raises:
        NotFound: it is not there (exit code 127). Unimplemented: it is a Linux program. Invalid: neither that nor
            Wasm; both name the evidence (exit code 126).
    """
    container, spec = world.container, world.spec
    process = spec.process or Process()
    if container.module:
        entrypoint = parse_entrypoint(process.args[0]) if process.args else Entrypoint(container.module)
        fd = open_file(container.module)
    else:
        fd, entrypoint = open_workload(world.root, process)
    try:
        check_is_wasm(fd, entrypoint.path, spec)
    except BaseException:
        os.close(fd)
        raise
    return Source(fd, entrypoint)


def is_compiled(source: Source, roots: Roots) -> bool:
    """Whether there is compiled code for it, so that loading it takes next to nothing."""
    return _cache(roots).knows(source.fd)


def load(source: Source, world: World, roots: Roots, engine: Engine | None) -> tuple[Program, Grants]:
    """The container's program, and what it is granted. Closes the source.

    Args:
        engine: one that is there already; used where it can hold the container's limits.

    Raises:
        Invalid: it is no valid Wasm binary. Precondition: it needs what cannot be had.
    """
    from sampan.engine.program import Engine

    container, entrypoint = world.container, source.entrypoint
    process = world.spec.process or Process()
    limits = container.limits or Limits()
    try:
        if engine is None or not engine.fits(limits):
            engine = Engine.for_limits(limits)
        program = engine.load(source.fd, entrypoint.export, _cache(roots), entrypoint.path)
    finally:
        os.close(source.fd)
    args = [entrypoint.path, *process.args[1:]]
    if container.bundle:  # elsewhere, HOME is the door's business
        process = with_home(process, world.root)
    env = with_working_directory(process)
    return program, Grants(args, env, world.preopens, container.network or Network(), limits)


def _cache(roots: Roots) -> CodeCache:
    return CodeCache(roots.code, f"{roots.run}/code")
