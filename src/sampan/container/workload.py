"""Loads a container's workload, before the process jails itself."""

from __future__ import annotations

import os

from sampan.container.environment import with_home, with_working_directory
from sampan.container.finding import (
    Entrypoint,
    check_is_wasm,
    open_file,
    open_in_bundle,
    open_workload,
    parse_entrypoint,
)
from sampan.core.errors import NotFound
from sampan.core.record import Record
from sampan.core.spec.runtime import Process
from sampan.engine.cache import CodeCache
from sampan.engine.grants import Grants, Limits, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.walls import World
    from sampan.core.roots import Roots
    from sampan.engine.program import Engine, Program

_warm_engine: Engine | None = None


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
    _check(fd, entrypoint.path, world)
    return Source(fd, entrypoint)


def find_outside(world: World) -> Source:
    """The workload of a bundle, found before its mounts are made.

    Raises:
        NotFound: it is not there (exit code 127). Unimplemented, Invalid: as `find`.
    """
    if world.container.module:  # it is not in the bundle
        return find(world)
    spec = world.spec
    name = spec.process.args[0] if spec.process is not None and spec.process.args else ""
    fd = open_in_bundle(spec, world.container.bundle)
    if fd < 0:
        raise NotFound(f"{name}: no such file in the container's root filesystem", exit_code=127)
    _check(fd, name, world)
    return Source(fd, parse_entrypoint(name))


def _check(fd: int, name: str, world: World) -> None:
    """Makes sure that the container's engine runs what is in an open file, which is closed if not."""
    try:
        if world.container.engine:
            from sampan.engine.plugins import check_handles

            check_handles(world.container.engine, fd, name)
        else:
            check_is_wasm(fd, name, world.spec)
    except BaseException:
        os.close(fd)
        raise


def is_compiled(source: Source, roots: Roots) -> bool:
    """Whether there is compiled code for it, so that loading it takes next to nothing."""
    return _cache(roots).knows(source.fd)


def warm_up() -> None:
    """Makes an engine for all that is forked from this process."""
    global _warm_engine
    from sampan.engine.program import Engine, preload

    preload()
    _warm_engine = Engine()


def load(source: Source, world: World, roots: Roots) -> Program:
    """The container's program. Closes the source.

    Raises:
        Invalid: it is no valid Wasm binary. Precondition: it needs what cannot be had. Others: as `plugins.load`.
    """
    limits = world.container.limits or Limits()
    entrypoint, engine = source.entrypoint, _warm_engine
    try:
        if world.container.engine:
            from sampan.engine import plugins

            name = world.container.engine
            return plugins.load(name, source.fd, entrypoint.export, _cache(roots), entrypoint.path)
        from sampan.engine.program import Engine

        if engine is None or not engine.fits(limits):
            engine = Engine.for_limits(limits)
        return engine.load(source.fd, entrypoint.export, _cache(roots), entrypoint.path)
    finally:
        os.close(source.fd)


def grants_of(source: Source, world: World) -> Grants:
    """What the container's program is granted, in the world that was built for it."""
    container, process = world.container, world.spec.process or Process()
    args = [source.entrypoint.path, *process.args[1:]]
    if container.bundle:  # elsewhere, HOME is the door's business
        process = with_home(process, world.root)
    env = with_working_directory(process)
    return Grants(args, env, world.preopens, container.network or Network(), container.limits or Limits())


def _cache(roots: Roots) -> CodeCache:
    return CodeCache(roots.code, f"{roots.run}/code")
