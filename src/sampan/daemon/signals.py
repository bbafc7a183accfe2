"""The signals that ask a server to end. Only the main thread may call this; Python runs handlers there."""

from __future__ import annotations

import os
import signal

ENDING = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Heard of once the first of `ENDING` came; nothing else happens then.

    A handler may interrupt the main thread anywhere, also where that holds a lock. So it takes none: it writes.
    """

    def __init__(self) -> None:
        self._asked = os.eventfd(0, os.EFD_CLOEXEC)
        for number in ENDING:
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        os.eventfd_write(self._asked, 1)

    def wait(self) -> None:
        """Waits for it."""
        os.read(self._asked, 8)
