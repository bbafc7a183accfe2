"""Trying again: what may pass by itself, a bounded number of times, with pauses that do not march in step."""

from __future__ import annotations

import time

from sampan.core.errors import TimedOut, Unavailable
from sampan.image.registry.answer import Patience
from sampan.image.registry.failures import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


class Attempts:
    """Counts the failures of one piece of work, and pauses between them.

    Args:
        patience: how often, and how long.
        deadline: on the monotonic clock; no pause goes beyond it.
    """

    def __init__(self, patience: Patience, deadline: float) -> None:
        self._patience = patience
        self._deadline = deadline
        self._failures = 0

    def progress(self) -> None:
        """Something was achieved: the count begins again."""
        self._failures = 0

    def failed(self, error: Unavailable | TimedOut) -> None:
        """Pause before the next attempt; or raise `error`, when there have been enough of them."""
        self._failures += 1
        if self._failures >= self._patience.attempts:
            raise error
        pause = min(self._patience.longest_pause, self._patience.pause * 2 ** (self._failures - 1))
        pause *= _jitter()
        if isinstance(error, Busy):
            if error.after > self._patience.retry_after:
                raise error
            pause = max(pause, error.after)
        if time.monotonic() + pause > self._deadline:
            raise error
        time.sleep(pause)


def with_retries(patience: Patience, work: Callable[[], T]) -> T:
    """What `work` returns, tried again while its failure may pass by itself.

    Refusals (403, 404, TLS, bad content) are never tried again.

    Raises:
        SampanError: what the last attempt raised.
    """
    attempts = Attempts(patience, time.monotonic() + patience.deadline)
    while True:
        try:
            return work()
        except (Unavailable, TimedOut) as error:
            attempts.failed(error)


def _jitter() -> float:
    import random

    return random.uniform(0.5, 1.5)  # noqa: S311 - nothing secret
