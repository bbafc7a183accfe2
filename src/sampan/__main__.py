"""`python3 -I -S …/sampan/__main__.py`: starts the `sampan` command without importing `site`.

`python3 -m sampan` works too.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    source = __file__.rpartition("/")[0].rpartition("/")[0] or "."
    if source not in sys.path:
        sys.path.append(source)
    from sampan.launcher import start

    start("sampan.doors.cli.main")
