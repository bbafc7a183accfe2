"""One-time tokens: what a URL promises, for one minute and for one client."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from sampan.core.errors import Exhausted

if TYPE_CHECKING:
    from sampan.doors.cri.streaming.portforward import PortForward
    from sampan.doors.cri.streaming.remotecommand import RemoteCommand

    Promise = RemoteCommand | PortForward

SECONDS = 60.0
MOST = 1000  # that nobody has come for yet


class _Entry(NamedTuple):
    kind: str
    promise: Promise
    until: float


class Tokens:
    """Promises by their tokens; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def issue(self, kind: str, promise: Promise) -> str:
        """A new token, which cannot be guessed.

        Raises:
            Exhausted: too many are waiting for somebody to come.
        """
        token, now = secrets.token_urlsafe(18), time.monotonic()
        with self._lock:
            while self._entries and next(iter(self._entries.values())).until <= now:
                del self._entries[next(iter(self._entries))]
            if len(self._entries) >= MOST:
                raise Exhausted(f"{MOST} streams were asked for that nobody has connected to yet")
            self._entries[token] = _Entry(kind, promise, now + SECONDS)
        return token

    def redeem(self, kind: str, token: str) -> Promise | None:
        """What was promised; None where nothing was, or it is too late, or somebody else has come."""
        with self._lock:
            entry = self._entries.pop(token, None)
        if entry is None or entry.kind != kind or entry.until <= time.monotonic():
            return None
        return entry.promise
