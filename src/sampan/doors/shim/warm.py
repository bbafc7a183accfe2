"""What a process has loaded that runs `start` and `delete` for the desk (see sampan/container/desk.py)."""

from __future__ import annotations

import sampan.container.covers
import sampan.container.environment
import sampan.container.finding
import sampan.container.hooks
import sampan.container.lifecycle
import sampan.container.process
import sampan.container.sandbox
import sampan.core.spec.checks
import sampan.core.spec.linuxchecks
import sampan.doors.shim.deletion
import sampan.doors.shim.server
import sampan.linux.cgroup_limits  # noqa: F401
from sampan.core.record import Record
from sampan.doors.shim import main as program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

Record.prepare_all()


def main(argv: list[str]) -> tuple[int, Callable[[], NoReturn] | None]:
    """One command line of the shim, with the program's own name in front; the exit code, and what it goes on as."""
    return program.run(argv, is_warm=True)
