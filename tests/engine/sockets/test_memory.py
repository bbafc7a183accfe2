"""What a guest may point at."""

from __future__ import annotations

from struct import pack

import pytest

from sampan.engine.sockets.memory import GuestMemory


@pytest.fixture
def memory() -> GuestMemory:
    memory = GuestMemory()
    memory.view = memoryview(bytearray(64))
    return memory


@pytest.mark.parametrize(("start", "size"), [(0, 64), (64, 0), (63, 1), (3, 4)])
def test_bytes_inside_are_given(memory: GuestMemory, start: int, size: int) -> None:
    assert len(memory.slice(start, size)) == size


@pytest.mark.parametrize(("start", "size"), [(0, 65), (64, 1), (65, 0), (0xFFFFFFFF, 1), (1, 0xFFFFFFFF)])
def test_W22_bytes_outside_are_refused(memory: GuestMemory, start: int, size: int) -> None:
    with pytest.raises(OSError) as caught:
        memory.slice(start, size)
    assert caught.value.errno == 14  # EFAULT


def test_vectors_may_overlap(memory: GuestMemory) -> None:
    memory.view[:16] = pack("<IIII", 0, 64, 8, 8)
    assert [len(v) for v in memory.vectors(0, 2)] == [64, 8]


def test_W22_a_million_vectors_are_refused_unread(memory: GuestMemory) -> None:
    with pytest.raises(OSError) as caught:
        memory.vectors(0, 1_000_000)
    assert caught.value.errno == 22  # EINVAL
