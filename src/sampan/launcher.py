"""How every command of Sampan starts and ends: the paths that `site` would set, and an end without its costs."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.core.roots import Roots


def start(module: str) -> None:
    """Imports `module` and ends the process with the code that its `main` returns for the arguments."""
    _find_dependencies()
    import gc
    import os

    gc.set_threshold(50_000)  # what is imported is no garbage: looking through it again and again costs 2 ms
    try:
        __import__(module)
        code: int = sys.modules[module].main(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    if "threading" not in sys.modules:  # nothing to wait for: what the interpreter tidies costs milliseconds
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, AttributeError):
                code = code or 1
        os._exit(code)
    sys.exit(code)


def serve(module: str, roots: Roots, arguments: Arguments) -> int:
    """Hands the process over to another door, which doors themselves do not know; the exit code of its `main`."""
    __import__(module)
    code: int = sys.modules[module].main(roots, arguments)
    return code


def _find_dependencies() -> None:
    """The folder that the wheels are in: that of this package, unless it runs from a source tree."""
    prefix = sys.executable.rpartition("/")[0].rpartition("/")[0]
    installed = f"{prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    if installed not in sys.path:
        sys.path.append(installed)
