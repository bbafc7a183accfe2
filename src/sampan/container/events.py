"""What happened to containers and images: one line of JSON an event, appended to a file of the run folder.

A line is written by one `write` to a descriptor opened for appending, so writers need no lock. The file starts
anew when it has grown past its bound; events are news, not a record.
"""

from __future__ import annotations

import os
import time

from sampan.core import strictjson
from sampan.core.errors import SampanError
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.container.records import Container
    from sampan.core.roots import Roots

MAX_BYTES = 4 << 20


class Event(Record):
    """`type` container or image, `action` as Docker names it (create, start, die, …), `time` in ns.

    `attributes` are the name, what the action has to say, and of a container also its image and its labels.
    """

    type: str
    action: str
    id: str
    time: int
    attributes: dict[str, str] = {}


def publish_container(roots: Roots, container: Container, action: str, **attributes: str) -> None:
    """Tells who listens what happened to a container."""
    known = {**container.labels, "name": container.name, "image": container.image}
    publish(roots, "container", action, container.id, {**known, **attributes})


def publish(roots: Roots, kind: str, action: str, subject: str, attributes: dict[str, str]) -> None:
    """Tells who listens; a run folder that cannot be written costs the event, never the action."""
    line = strictjson.dumps(Event(kind, action, subject, time.time_ns(), attributes)) + b"\n"
    try:
        os.makedirs(roots.run, 0o711, exist_ok=True)
        path = f"{roots.run}/events"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        try:
            if os.fstat(fd).st_size > MAX_BYTES:
                os.rename(path, f"{path}.1")
            os.write(fd, line)
        finally:
            os.close(fd)
    except OSError:
        return


def listen(roots: Roots, *, since: int | None = None, until: int | None = None) -> Iterator[Event]:
    """The events from `since` (default: now) to `until` (default: without end), as they come; times in ns."""
    begin = time.time_ns() if since is None else since
    path = f"{roots.run}/events"
    file = None
    while True:
        closing = until is not None and time.time_ns() > until
        if file is None and os.path.exists(path):
            file = open(path, "rb")
        while file is not None and (line := file.readline()):
            if not line.endswith(b"\n"):
                file.seek(-len(line), os.SEEK_CUR)
                break
            event = _parse(line)
            if event is not None and event.time >= begin and (until is None or event.time <= until):
                yield event
        if closing:
            return
        if file is not None and not _is_same_file(file.fileno(), path):
            file.close()
            file = None
            continue
        time.sleep(0.05)


def _parse(line: bytes) -> Event | None:
    try:
        return Event.from_json(strictjson.loads(line, what="an event"))
    except SampanError:
        return None


def _is_same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return True
