"""`python3 -I -S …/sampan/doors/shim/__main__.py PROGRAM WORD...`: the shim, without importing `site`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    source = __file__.rsplit("/", 4)[0] or "."
    if source not in sys.path:
        sys.path.append(source)
    from sampan.launcher import start

    start("sampan.doors.shim.main")
