"""Something that is costly to measure and may be a little old: measured again only now and then."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LEAST_AGE = 10.0
SHARE = 0.01


class Measured(Generic[T]):
    """The last measurement, and a new one when it is ten seconds old and measuring takes 1 % of the time at most.

    For any number of threads: one measures, those who come meanwhile wait for it.
    """

    def __init__(self, measure: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self._lock = threading.Lock()
        self._last: T | None = None
        self._next = 0.0

    def now(self) -> T:
        """The measurement.

        Raises:
            SampanError: as what measures; nothing is kept then.
        """
        with self._lock:
            began = self._clock()
            if self._last is None or began >= self._next:
                self._last = self._measure()
                took = self._clock() - began
                self._next = began + max(LEAST_AGE, took / SHARE)
            return self._last
