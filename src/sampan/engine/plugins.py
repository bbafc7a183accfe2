"""Engines of other packages: whatever an entry point of the group `sampan.engines` names is one, if it is a `Plugin`.

Such an engine runs in the container's own process, behind the same walls as wasmtime: a jailed process opens and
imports nothing, so all that a run needs must be there when `load` returns. It is looked for when it is asked for by
name, and only then. The files are those of the entry points specification (packaging.python.org).
"""

from __future__ import annotations

import os
import sys

from sampan.core.errors import Invalid, NotFound, Precondition, SampanError, Unimplemented, from_os_error
from sampan.engine.grants import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sampan.engine.cache import CodeCache
    from sampan.engine.grants import Grants, OnBind
    from sampan.engine.program import Program
else:
    Protocol = object

GROUP = "sampan.engines"
OWN = "wasmtime"
HEAD = 512
MOST_SOURCE = 1 << 30
STRANGERS = (Exception, SystemExit, KeyboardInterrupt)
"""What code that is not ours may raise."""


class Plugin(Protocol):
    """An engine, or what runs another kind of workload.

    Attributes:
        version: of the engine; code that another version compiled is not used.
    """

    version: str

    def handles(self, head: bytes, name: str) -> bool:
        """Whether it runs a file of this name that begins so (at most 512 bytes)."""

    def compile(self, source: bytes) -> bytes:
        """What is kept of a workload, so that loading it is quick; the source itself where nothing is gained.

        Raises:
            ValueError: it is no valid workload; the text says why.
        """

    def load(self, code: bytes, entry: str, name: str) -> Program:
        """The program, ready to be run with no more files opened or modules imported.

        Args:
            code: what `compile` gave, now or at another time. entry: the function that is asked for, "" for the usual
                one. name: what errors call the workload.

        Raises:
            ValueError: it cannot be run; the text says why.
        """


def names() -> dict[str, str]:
    """The engines that are installed, by name: `module:object`."""
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            packages = [name for name in os.listdir(folder or ".") if name.endswith(".dist-info")]
        except OSError:  # a zip file, or nothing
            continue
        for package in packages:
            for name, place in _engines_of(f"{folder}/{package}/entry_points.txt"):
                found.setdefault(name, place)
    return found


def _engines_of(path: str) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError):  # most packages have none
        return []
    engines, section = [], ""
    for line in map(str.strip, lines):
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == GROUP and "=" in line and not line.startswith("#"):
            name, place = map(str.strip, line.split("=", 1))
            if name and name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum():
                engines.append((name, place))
    return engines


def find(name: str) -> Plugin:
    """The engine of this name.

    Raises:
        NotFound: no package has it. Precondition: its package cannot be imported.
    """
    installed = names()
    if name not in installed:
        known = ", ".join([OWN, *sorted(installed)])
        raise NotFound(
            f"there is no engine {name!r}", fix=f"install the package that has it; there are: {known}"
        )
    module, _, attributes = installed[name].partition(":")
    try:
        __import__(module)
        found = sys.modules[module]
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
    except STRANGERS as error:
        raise _broken(name, error) from error
    return found


def _broken(engine: str, error: BaseException) -> Precondition:
    return Precondition(
        f"the engine {engine} cannot be loaded: {type(error).__name__}: {error}",
        fix="install its package again, or report it to its authors",
    )


def check_handles(engine: str, fd: int, name: str) -> None:
    """Makes sure that the engine runs the file that is open as `fd`.

    Raises:
        Unimplemented: it does not (exit code 126). NotFound: as `find`. Precondition: so, too, or the engine fails.
    """
    plugin = find(engine)
    try:
        handles = plugin.handles(os.pread(fd, HEAD, 0), name)
    except STRANGERS as error:
        raise _broken(engine, error) from error
    if not handles:
        raise Unimplemented(f"{name} is nothing that the engine {engine} runs", exit_code=126)


def load(engine: str, fd: int, entry: str, cache: CodeCache, name: str) -> Program:
    """The program in an open file, which is left open.

    Raises:
        Invalid: the engine does not take it (exit code 126). NotFound, Precondition: as `find`.
    """
    plugin = find(engine)
    try:
        program = plugin.load(_code(plugin, engine, fd, cache, name), entry, name)
        if not callable(getattr(program, "run", None)):
            raise TypeError(f"its load gave {type(program).__name__}, which does not run")
        return _Checked(engine, program)
    except SampanError:
        raise
    except OSError as error:
        raise from_os_error(error, f"read {name}") from error
    except STRANGERS as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise Invalid(f"{name} cannot be loaded by the engine {engine}: {text}", exit_code=126) from error


class _Checked:
    """A stranger's program: whatever it does, how it ended is an exit code and a text."""

    def __init__(self, engine: str, program: Program) -> None:
        self.kind = str(getattr(program, "kind", engine))
        self._engine = engine
        self._program = program

    def run(self, grants: Grants, on_bind: OnBind | None = None) -> Ending:
        try:
            ending = self._program.run(grants, on_bind)
            if isinstance(ending, Ending) and isinstance(ending.code, int) and 0 <= ending.code <= 255:
                return Ending(ending.code, str(ending.reason), str(ending.message))
            problem = f"gave {ending!r}, which is no ending"
        except STRANGERS as error:
            problem = f"failed: {type(error).__name__}: {error}"
        return Ending(125, "error", f"sampan: the engine {self._engine} {problem[:500]}")


def _code(plugin: Plugin, engine: str, fd: int, cache: CodeCache, name: str) -> bytes:
    """The compiled code, from the cache or from the engine."""
    fingerprint = " ".join(f"{engine} {plugin.version}".split())
    digest = cache.digest(fd)
    found = cache.find(digest, fingerprint) if digest is not None else None
    if digest is not None and found is not None:
        try:
            return cache.content(found, digest, fingerprint)
        finally:
            os.close(found)
    code = plugin.compile(_read(fd, name))
    if not isinstance(code, bytes):
        raise TypeError(f"its compile gave {type(code).__name__}, not bytes")
    if digest is not None:
        copy = os.memfd_create("code", os.MFD_CLOEXEC)
        try:
            with open(copy, "wb", closefd=False) as file:
                file.write(code)
            cache.store(digest, fingerprint, copy)
        finally:
            os.close(copy)
    return code


def _read(fd: int, name: str) -> bytes:
    size = os.fstat(fd).st_size
    if size > MOST_SOURCE:
        raise Invalid(f"{name} is larger than {MOST_SOURCE} bytes", exit_code=126)
    data = b""
    while part := os.pread(fd, size - len(data) + 1, len(data)):
        data += part
    return data
