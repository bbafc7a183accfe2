"""The signals that ask a server to end. Only the main thread may call this; Python runs handlers there."""

from __future__ import annotations

import signal
from threading import Event

ENDING = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Set once the first of `ENDING` came; nothing else happens then."""

    def __init__(self) -> None:
        self._asked = Event()
        for number in ENDING:
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self._asked.set()

    def wait(self) -> None:
        """Waits for it."""
        self._asked.wait()
