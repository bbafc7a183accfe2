"""Moves an engine's clock of epochs while runs with a deadline are under way."""

from __future__ import annotations

import _thread
from time import monotonic

from sampan.engine.binding import C

TICK = 0.01  # seconds


class Ticker:
    """One background thread an engine, there only while somebody waits for a deadline.

    Args:
        engine: the C engine, made with epochs.
    """

    def __init__(self, engine: int) -> None:
        self._engine = engine
        self._guard = _thread.allocate_lock()
        self._waiting = 0
        self._stop = _thread.allocate_lock()

    def begin(self) -> None:
        """Tick from now on, until `end` was called as often."""
        with self._guard:
            self._waiting += 1
            if self._waiting == 1:
                self._stop = _thread.allocate_lock()
                self._stop.acquire()
                _thread.start_new_thread(self._tick, (self._stop,))

    def end(self) -> None:
        with self._guard:
            self._waiting -= 1
            if self._waiting == 0:
                self._stop.release()

    def _tick(self, stop: _thread.LockType) -> None:
        started, done = monotonic(), 0
        while not stop.acquire(timeout=TICK):
            due = int((monotonic() - started) / TICK)
            while done < due:  # a late wake-up is made good
                C.wasmtime_engine_increment_epoch(self._engine)
                done += 1


def ticks(seconds: float) -> int:
    """How many epochs a deadline is, at least one."""
    return max(int(seconds / TICK) + 1, 1)
