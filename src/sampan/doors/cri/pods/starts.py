"""Starts of containers that are under way, marked by a file, so that the next server finds those that nobody ended.

A container process goes on when the server that had it started is gone. Until it stands it cannot be seen, and could
outlive the removal of its container.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sampan.container import ending
from sampan.container.records import Exit
from sampan.container.store import CREATED
from sampan.core.errors import SampanError
from sampan.doors.cri.pods.answers import START_CODE
from sampan.linux import durable

if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.roots import Roots

MARK = "starting"
SECONDS = 1.0  # for processes to stand that were forked just before their server ended
PAUSE = 0.01


def mark_start(folder: str) -> None:
    """Notes that a container's start begins; a reboot ends that anyway, so it need not be on the disk.

    Raises:
        SampanError: NotFound (the container was removed), Exhausted, ...
    """
    durable.write_file(f"{folder}/{MARK}", b"", lasting=False)


def forget_start(folder: str) -> None:
    """Notes that it has come to its end, well or not."""
    with suppress(FileNotFoundError):
        os.unlink(f"{folder}/{MARK}")


def fail_start(entry: Entry, why: str) -> None:
    """Records that a container could not be started, unless it did that itself."""
    entry.save_exit(Exit(START_CODE, "error", time.time_ns(), why))


def settle(entries: list[Entry], roots: Roots) -> None:
    """Waits for those of some containers that were being started; what does not stand soon is ended."""
    marked = [entry for entry in entries if os.path.exists(f"{entry.folder}/{MARK}")]
    deadline = time.monotonic() + SECONDS
    for entry in marked:
        with suppress(SampanError):  # it is damaged: whoever removes it ends it
            while entry.status() == CREATED and time.monotonic() < deadline:
                time.sleep(PAUSE)
            if entry.status() == CREATED:
                ending.end_broken(entry.container.id, roots)
                fail_start(entry, "the server ended while it was being started")
        forget_start(entry.folder)
