"""The clock of epochs: runs with deadlines of their own, at the same time, on one engine."""

from __future__ import annotations

import os
import threading

import pytest

from sampan.engine.code import wat_to_wasm
from sampan.engine.grants import Ending, Grants, Limits
from sampan.engine.program import Engine
from sampan.engine.ticker import TICK, ticks

LOOP = '(module (func (export "_start") (loop $l (br $l))))'
QUICK = '(module (func (export "_start")))'


@pytest.mark.parametrize(("seconds", "epochs"), [(0, 1), (TICK / 2, 1), (1.0, int(1 / TICK) + 1)])
def test_a_deadline_is_never_early(seconds: float, epochs: int) -> None:
    assert ticks(seconds) == epochs
    assert ticks(seconds) * TICK >= seconds


def test_runs_at_once_have_deadlines_of_their_own() -> None:
    engine, endings = Engine(epochs=True), dict[str, Ending]()

    def run(name: str, text: str, deadline: float | None) -> None:
        fd = os.memfd_create(name)
        os.write(fd, wat_to_wasm(text.encode()))
        endings[name] = engine.load(fd).run(Grants(limits=Limits(deadline=deadline)))
        os.close(fd)

    wishes = [("short", LOOP, 0.05), ("longer", LOOP, 0.2), ("quick", QUICK, 60.0), ("free", QUICK, None)]
    threads = [threading.Thread(target=run, args=wish) for wish in wishes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: ending.reason for name, ending in endings.items()} == {
        "short": "deadline", "longer": "deadline", "quick": "exited", "free": "exited",
    }  # fmt: skip


def test_a_deadline_works_after_a_fork() -> None:
    engine = Engine(epochs=True)
    fd = os.memfd_create("loop")
    os.write(fd, wat_to_wasm(LOOP.encode()))
    program = engine.load(fd)
    os.close(fd)
    child = os.fork()
    if child == 0:
        os._exit(program.run(Grants(limits=Limits(deadline=0.05))).code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
