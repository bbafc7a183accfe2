"""GetContainerEvents of two runtimes as one stream, which ends with its caller."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from queue import Full, Queue
from threading import Event, Thread

import grpc
from google.protobuf.message import Message

from sampan.core.errors import Exhausted
from sampan.doors.cri.errors import MISSING, Refused
from sampan.doors.cri.routing.upstream import Upstream

log = logging.getLogger(__name__)

MOST_WAITING = 1024  # events that a caller has not read yet
PAUSE = 1.0  # seconds until the runtime behind us is asked again


def merged(
    ours: Iterable[Message],
    upstream: Upstream | None,
    method: str,
    request: bytes,
    context: grpc.ServicerContext,
) -> Iterator[bytes]:
    """Our events and those of the runtime behind us, as they come, until the caller is gone or we end.

    Args:
        ours: ends by itself where the context is not active any more, and the whole stream with it.

    Raises:
        Exhausted: the caller does not read them.
        Exception: whatever ends one of the two streams.
    """
    events = _Stream(context)
    events.take(lambda: (event.SerializeToString() for event in ours), is_last=True)
    if upstream is not None:
        events.take(lambda: _theirs(upstream, method, request, context, events.ended))
    return events.read()


def _theirs(
    upstream: Upstream, method: str, request: bytes, context: grpc.ServicerContext, ended: Event
) -> Iterator[bytes]:
    """The events of the runtime behind us; it is asked again when it comes back.

    One that has none ends the stream: a kubelet then looks at its pods again and again, which it must for those.
    """
    while not ended.is_set():
        try:
            yield from upstream.stream(method, [request], context)
        except Refused as refusal:
            has_none = refusal.code is grpc.StatusCode.UNIMPLEMENTED
            if (has_none or refusal.code not in MISSING) and not ended.is_set():
                raise
        ended.wait(PAUSE)


class _Stream:
    """What several threads put into one stream.

    Attributes:
        ended: set once nothing more is read of it.
    """

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.ended = Event()
        self._waiting: Queue[bytes | None] = Queue(MOST_WAITING)
        self._error: Exception | None = None
        if not context.add_callback(self._end):
            self._end()

    def take(self, source: Callable[[], Iterable[bytes]], *, is_last: bool = False) -> None:
        """Puts all of a source into the stream, by a thread of its own.

        Args:
            is_last: whether the stream ends with the source.
        """
        Thread(target=self._take, args=(source, is_last), name="cri-events", daemon=True).start()

    def read(self) -> Iterator[bytes]:
        """What comes, until the stream is ended."""
        try:
            while (event := self._waiting.get()) is not None and not self.ended.is_set():
                yield event
        finally:
            self.ended.set()
        if self._error is not None:
            raise self._error

    def _take(self, source: Callable[[], Iterable[bytes]], is_last: bool) -> None:
        try:
            for event in source():
                if self.ended.is_set():
                    return
                self._waiting.put_nowait(event)
            if is_last:
                self._waiting.put_nowait(None)
        except Full:
            self._fail(Exhausted(f"{MOST_WAITING} events were not read in time"))
        except Exception as error:  # the reader's thread raises it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._end()

    def _end(self) -> None:
        self.ended.set()
        try:
            self._waiting.put_nowait(None)  # for a reader that waits; one behind a full queue does not
        except Full:
            pass
