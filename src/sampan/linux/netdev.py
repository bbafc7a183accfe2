"""What went over the interfaces of network namespaces, whether a process is in them or not. proc(5), /proc/net/dev."""

from __future__ import annotations

import os

from sampan.core.errors import SampanError
from sampan.core.record import Record
from sampan.linux.files import read_file
from sampan.linux.namespaces import NEWNET, enter
from sampan.linux.threads import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = "eth0"
_FIELDS = 16


class Interface(Record):
    """The counters of one interface: bytes, packets, and of these the faulty and the dropped ones."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def interfaces_of(namespaces: Iterable[str]) -> dict[str, list[Interface]]:
    """The interfaces but loopback of each namespace, by the path of its file; the default one first.

    A namespace that is not there any more is left out. They are entered by a thread of its own.
    """
    found: dict[str, list[Interface]] = {}

    def look() -> None:
        for path in namespaces:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                enter(fd, NEWNET)
                found[path] = parse(read_file("/proc/thread-self/net/dev").decode())
            except (SampanError, OSError):
                continue
            finally:
                os.close(fd)

    apart(look)
    return found


def parse(text: str) -> list[Interface]:
    """The interfaces in what /proc/net/dev says, without loopback; the default one first."""
    found = []
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        numbers = rest.split()
        if not colon or len(numbers) < _FIELDS or name.strip() == "lo":
            continue
        values = [int(number) for number in numbers]
        found.append(Interface(name.strip(), *values[:4], *values[8:12]))
    return sorted(found, key=lambda interface: interface.name != DEFAULT)
