"""The least limits of a container: refused below, enough to run with at the border."""

from __future__ import annotations

import pytest

from sampan.container import ending
from sampan.container.leasts import LEAST_MEMORY, LEAST_RLIMITS, LEAST_TASKS, check_limits
from sampan.core.errors import Exhausted, Invalid
from sampan.core.spec.runtime import Memory, Pids, Process, Resources, Rlimit


@pytest.mark.parametrize("name", LEAST_RLIMITS)
def test_a_resource_limit_below_the_least_is_refused_by_name(name):
    least = LEAST_RLIMITS[name]
    check_limits(Resources(), [Rlimit(name, least, least)])
    with pytest.raises(Invalid, match=f"{name.removeprefix('RLIMIT_').lower()} of {least - 1} .* {least}"):
        check_limits(Resources(), [Rlimit(name, least - 1, least)])


def test_limits_without_a_least_may_be_anything():
    check_limits(Resources(), [Rlimit("RLIMIT_CORE", 0, 0), Rlimit("RLIMIT_NICE", 0, 0)])


def test_limits_of_the_cgroup_have_a_least():
    check_limits(Resources(memory=Memory(limit=LEAST_MEMORY), pids=Pids(LEAST_TASKS)), [])
    check_limits(Resources(memory=Memory(limit=-1), pids=Pids(-1)), [])
    with pytest.raises(Invalid, match="memory limit of 65536"):
        check_limits(Resources(memory=Memory(limit=65536)), [])
    with pytest.raises(Invalid, match="processes and threads of 1 "):
        check_limits(Resources(pids=Pids(1)), [])


def test_a_container_runs_within_all_the_least_limits(world):
    limits = [Rlimit(name, least, least) for name, least in LEAST_RLIMITS.items()]
    process = Process(["/toolbox.wasm", "write", "/file", "text"], "/", rlimits=limits)
    entry = world.start(
        lower=world.rootfs(), process=process
    )  # a child of the zygote: a test runner is too large
    record = ending.wait(entry, 60)
    assert record is not None
    assert (record.code, record.message) == (0, "")


def test_a_start_that_a_limit_breaks_is_told_in_one_sentence(world):
    limits = [Rlimit("RLIMIT_NOFILE", 3, 3)]
    with pytest.raises(Exhausted, match="Too many open files"):
        world.run(lower=world.rootfs(), process=Process(["/toolbox.wasm", "echo", "hi"], "/", rlimits=limits))
