"""What a process has loaded that runs `sampan run` and `sampan ps` for the desk (see sampan/container/desk.py)."""

from __future__ import annotations

import sampan.container.covers
import sampan.container.environment
import sampan.container.finding
import sampan.container.process
import sampan.container.reaper
import sampan.container.starting
import sampan.container.users
import sampan.doors.cli.commands.ps
import sampan.doors.cli.commands.run
import sampan.doors.cli.containerrows
import sampan.doors.cli.sources
import sampan.doors.cli.volumes
import sampan.image.snapshots
import sampan.image.store  # noqa: F401
from sampan.core.record import Record
from sampan.doors.cli.main import main

Record.prepare_all()

__all__ = ["main"]
