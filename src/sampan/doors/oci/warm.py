"""What a process has loaded that runs commands of `sampan-oci` for the desk (see sampan/container/desk.py)."""

from __future__ import annotations

import sampan.container.covers
import sampan.container.delegate
import sampan.container.environment
import sampan.container.finding
import sampan.container.hooks
import sampan.container.inits
import sampan.container.lifecycle
import sampan.container.process
import sampan.container.starting
import sampan.core.spec.checks
import sampan.core.spec.linuxchecks
import sampan.doors.oci.commands.run
import sampan.doors.oci.foreground  # noqa: F401
from sampan.core.record import Record
from sampan.doors.oci.main import main

Record.prepare_all()

__all__ = ["main"]
