"""Statistics as containerd's clients decode them, of both versions of cgroups."""

from __future__ import annotations

from typing import Any as Anything

from sampan.doors.shim.metrics import MEMORY_1, MEMORY_2, measure
from sampan.wire.protobuf import BYTES, STRING, UINT64, Message, by_number, field, message, repeated


class Pids(Message):
    current: int = field(1, UINT64)
    limit: int = field(2, UINT64)


class Entry(Message):
    limit: int = field(1, UINT64)
    usage: int = field(2, UINT64)


class Memory(Message):
    first: int = field(1, UINT64)
    inactive_file: int = field(13, UINT64)
    own: int = field(32, UINT64)
    swap: int = field(34, UINT64)


class Memory1(Message):
    first: int = field(1, UINT64)
    last: int = field(32, UINT64)
    usage: Entry | None = field(33, message(Entry))


class Usage(Message):
    total: int = field(1, UINT64)
    kernel: int = field(2, UINT64)
    user: int = field(3, UINT64)
    per_cpu: list[int] = field(4, repeated(UINT64))


class Cpu(Message):
    usage: Usage | None = field(1, message(Usage))


class One(Message):
    pids: Pids | None = field(2, message(Pids))
    cpu: Cpu | None = field(3, message(Cpu))
    memory: Memory1 | None = field(4, message(Memory1))


class IoEntry(Message):
    major: int = field(1, UINT64)
    minor: int = field(2, UINT64)
    rbytes: int = field(3, UINT64)
    wios: int = field(6, UINT64)


class Io(Message):
    usage: list[IoEntry] = field(1, repeated(message(IoEntry)))


class Two(Message):
    pids: Pids | None = field(1, message(Pids))
    cpu: Usage | None = field(2, message(Usage))
    memory: Memory | None = field(4, message(Memory))
    io: Io | None = field(6, message(Io))
    events: bytes = field(8, BYTES)


STATS: dict[str, Anything] = {
    "cpu": {"usage": {"total": 9000, "kernel": 3000, "user": 6000, "percpu": [4000, 5000]}, "throttling": {}},
    "memory": {
        "usage": {"limit": 100, "usage": 40, "max": 50, "failcnt": 0},
        "swap": {"limit": 150, "usage": 47, "failcnt": 0},
        "raw": {MEMORY_1[0]: 11, MEMORY_1[31]: 12, MEMORY_2[0]: 13, "inactive_file": 14},
    },
    "pids": {"current": 3, "limit": 9},
    "blkio": {
        "ioServiceBytesRecursive": [{"major": 8, "minor": 1, "op": "Read", "value": 70}],
        "ioServicedRecursive": [{"major": 8, "minor": 1, "op": "Write", "value": 2}],
    },
    "hugetlb": {"2MB": {"usage": 1, "failcnt": 0}},
}


class Group:
    def __init__(self, version: str) -> None:
        self.version = version

    def detailed_stats(self) -> dict[str, Anything]:
        return STATS

    def oom_kills(self) -> int:
        return 2


def test_version_one() -> None:
    told = measure(Group("v1"))  # type: ignore[arg-type]
    assert told.type_url == "io.containerd.cgroups.v1.Metrics"
    seen = One.decode(told.value)
    assert seen.pids == Pids(3, 9)
    assert seen.cpu == Cpu(Usage(9000, 3000, 6000, [4000, 5000]))
    assert seen.memory == Memory1(11, 12, Entry(100, 40))


def test_version_two() -> None:
    told = measure(Group("v2"))  # type: ignore[arg-type]
    assert told.type_url == "io.containerd.cgroups.v2.Metrics"
    seen = Two.decode(told.value)
    assert seen.pids == Pids(3, 9)
    assert seen.cpu == Usage(9, 6, 3)
    assert seen.memory == Memory(13, 14, 40, 7)
    assert seen.io == Io([IoEntry(8, 1, 70, 2)])
    assert seen.events == b"\x28\x02"


def test_a_message_by_its_numbers_is_what_a_declared_one_is() -> None:
    class Declared(Message):
        number: int = field(1, UINT64)
        text: str = field(2, STRING)
        numbers: list[int] = field(3, repeated(UINT64))
        texts: list[str] = field(4, repeated(STRING))

    written = by_number({1: 300, 2: "hello", 3: [1, 2], 4: [b"a", b"b"]})
    assert Declared.decode(written) == Declared(300, "hello", [1, 2], ["a", "b"])
    assert by_number({1: 0, 2: "", 3: []}) == b""
