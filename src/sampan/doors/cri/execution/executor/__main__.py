"""`python3 -I -S …/sampan/doors/cri/execution/executor/__main__.py FD TERMINAL ID COMMAND…`: starts an executor."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    source = __file__.rpartition("/sampan/")[0] or "."
    if source not in sys.path:
        sys.path.append(source)
    from sampan.launcher import start

    start("sampan.doors.cri.execution.executor.main")
