"""Copies from one descriptor to another, as much as the other one takes, without ever waiting for either."""

from __future__ import annotations

import os

from sampan.doors.shim.loop import READABLE, WRITABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.shim.loop import Loop

CHUNK = 64 << 10


class Relay:
    """Owns both descriptors, which are non-blocking, and closes them at its end.

    It ends with the source (a fifo's end is when its last writer has gone, not before the first has come), by `finish`,
    or when nobody reads the sink any more. `last` are bytes that the sink gets at the end.
    """

    def __init__(self, loop: Loop, source: int, sink: int, last: bytes = b"") -> None:
        self._loop = loop
        self._source = source
        self._sink = sink
        self._last = last
        self._pending = b""
        self._is_open = True
        self._source_ended = False
        for fd in (source, sink):
            os.set_blocking(fd, False)
        self._watch()

    def finish(self) -> None:
        """Copies what is in the source now, and ends."""
        if not self._is_open:
            return
        while not self._source_ended and (data := self._take()):
            self._pending += data
        self._end_source()
        self._write()

    def close(self) -> None:
        """Ends it at once, whatever was not copied yet."""
        if self._is_open:
            self._is_open = False
            self._end_source()
            self._loop.forget(self._sink)
            os.close(self._sink)

    def _take(self) -> bytes:
        """What is there now; nothing at the end, too."""
        try:
            data = os.read(self._source, CHUNK)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: a terminal whose other side is closed
            data = b""
        if not data:
            self._end_source()
        return data

    def _end_source(self) -> None:
        if not self._source_ended:
            self._source_ended = True
            self._loop.forget(self._source)
            os.close(self._source)
            self._pending += self._last

    def _read(self, _: int) -> None:
        self._pending = self._take()
        self._write()

    def _write(self, _: int = 0) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._sink, self._pending) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads it any more
            self.close()
            return
        if self._source_ended and not self._pending:
            self.close()
        else:
            self._watch()

    def _watch(self) -> None:
        """Reads only when there is nothing left to write."""
        if self._pending:
            self._loop.watch(self._sink, WRITABLE, self._write)
            self._loop.forget(self._source)
        else:
            self._loop.forget(self._sink)
            if not self._source_ended:
                self._loop.watch(self._source, READABLE, self._read)
