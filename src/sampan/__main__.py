"""`python3 -I -S …/sampan/__main__.py`: starts the `sampan` command without importing `site`.

The paths that `site` would set are set here by hand: the folder that this package is in, and the one where its
dependencies are (the same, unless it runs from a source tree). `python3 -m sampan` works too.
"""

from __future__ import annotations

import sys


def _set_paths() -> None:
    source = __file__.rpartition("/")[0].rpartition("/")[0] or "."
    prefix = sys.executable.rpartition("/")[0].rpartition("/")[0]
    installed = f"{prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for path in (source, installed):
        if path not in sys.path:
            sys.path.append(path)


def _main() -> None:
    import os

    try:
        from sampan.doors.cli.main import main

        code = main(sys.argv[1:])
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


if __name__ == "__main__":
    _set_paths()
    _main()
