"""The signals that ask a server to end. Only the main thread may call this."""

from __future__ import annotations

import os
import signal

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ending:
    """Heard of once the first of `ENDING` came; nothing else happens then.

    The interpreter itself writes down a signal's number, in whatever thread the kernel chose and at whatever moment. A
    handler would not do: it runs in the main thread, which nothing wakes where another thread was chosen.
    """

    def __init__(self) -> None:
        self._numbers, written = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(written, False)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        for number in ENDING:
            signal.signal(number, _ignore)

    def wait(self) -> None:
        """Waits for it."""
        while os.read(self._numbers, 1)[0] not in ENDING:
            continue


def _ignore(*_: object) -> None:
    """Keeps a signal from ending the process."""
