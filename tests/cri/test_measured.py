"""Measurements that may be a little old."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sampan.core.errors import NotFound
from sampan.doors.cri.measured import Measured


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_is_measured_again_after_ten_seconds() -> None:
    clock, count = Clock(), iter(range(100))
    measured = Measured(lambda: next(count), clock)
    assert [measured.now(), measured.now()] == [0, 0]
    clock.now += 9.9
    assert measured.now() == 0
    clock.now += 0.2
    assert measured.now() == 1


def test_what_takes_long_is_measured_seldom() -> None:
    clock, count = Clock(), iter(range(100))

    def measure() -> int:
        clock.now += 2
        return next(count)

    measured = Measured(measure, clock)
    assert measured.now() == 0
    clock.now += 190
    assert measured.now() == 0
    clock.now += 10
    assert measured.now() == 1


def test_a_failure_is_not_kept() -> None:
    answers = iter([NotFound("gone"), 5])

    def measure() -> int:
        answer = next(answers)
        if isinstance(answer, NotFound):
            raise answer
        return answer

    measured = Measured(measure)
    with pytest.raises(NotFound):
        measured.now()
    assert measured.now() == 5


def test_those_who_come_meanwhile_wait_for_the_one_who_measures() -> None:
    begun, count = threading.Barrier(8), []

    def measure() -> int:
        count.append(1)
        return len(count)

    measured = Measured(measure)

    def ask(_: int) -> int:
        begun.wait(10)
        return measured.now()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {1}
