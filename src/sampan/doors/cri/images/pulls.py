"""Pulls that several callers wait for: one for each image and credential, given up when nobody waits any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sampan.core.errors import Internal, SampanError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

POLL = 0.2  # seconds until a caller that has hung up is noticed


class Abandoned(Exception):
    """Raised inside a pull that nobody waits for any more; never seen outside."""


class _Pull:
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.waiters = 0
        self.image_id = ""
        self.error: SampanError | None = None

    def check(self) -> None:
        if not self.waiters:
            raise Abandoned

    def run(self, work: Callable[[Callable[[], None]], str]) -> None:
        try:
            self.image_id = work(self.check)
        except SampanError as error:
            self.error = error
        except Abandoned:
            self.error = Unavailable("the pull was given up")
        except Exception as error:  # those who wait must hear of a fault of ours, too
            self.error = Internal(f"the pull failed: {type(error).__name__}: {error}")
        finally:
            self.ended.set()


class Pulls:
    """The pulls that are under way, by what makes two of them the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[object, _Pull] = {}

    def share(
        self, key: object, work: Callable[[Callable[[], None]], str], is_cancelled: Callable[[], bool]
    ) -> str:
        """What `work` gives: begun here, or under way for another caller already.

        Args:
            work: is given a function to call now and then, which raises once nobody waits any more.
            is_cancelled: whether this caller has hung up; the others' pull goes on.

        Raises:
            Unavailable: this caller has hung up.
            SampanError: as `work`.
        """
        pull = self._join(key, work)
        try:
            while not pull.ended.wait(POLL):
                if is_cancelled():
                    raise Unavailable("the pull's caller has hung up")
        finally:
            self._leave(key, pull)
        if pull.error is not None:  # each caller raises an error of its own: it collects a traceback
            raise type(pull.error)(pull.error.message, fix=pull.error.fix) from pull.error
        return pull.image_id

    def _join(self, key: object, work: Callable[[Callable[[], None]], str]) -> _Pull:
        with self._lock:
            pull = self._running.get(key)
            if pull is None:
                pull = self._running[key] = _Pull()
                pull.waiters = 1  # before it runs: it looks whether anybody waits
                threading.Thread(target=pull.run, args=(work,), name="pull", daemon=True).start()
                return pull
            pull.waiters += 1
            return pull

    def _leave(self, key: object, pull: _Pull) -> None:
        with self._lock:
            pull.waiters -= 1
            if (not pull.waiters or pull.ended.is_set()) and self._running.get(key) is pull:
                del self._running[key]
