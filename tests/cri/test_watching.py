"""What a kubelet is told of a container between the end of its process and the record of how it ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.container.records import Container, Exit, Running
from sampan.container.store import EXITED, RUNNING, Entry
from sampan.core.strictjson import dumps
from sampan.doors.cri.pods import watching
from sampan.doors.cri.pods.watching import Watch
from sampan.linux.processes import boot_id, start_time


@pytest.fixture
def entry(tmp_path: Path) -> Iterator[Entry]:
    """A container whose process has ended and waits for its parent to write down how."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    run = Running(pid, start_time(pid), boot_id(), time.time_ns())
    (tmp_path / "running.json").write_bytes(dumps(run))
    yield Entry(str(tmp_path), Container("a" * 64, "name", "image", time.time_ns()))
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # the test did
        pass


def test_it_runs_until_its_end_is_recorded(entry: Entry) -> None:
    watch = Watch(entry)
    for _ in range(3):
        state = watch.state()
        assert state is not None and state.status == RUNNING
    entry.save_exit(Exit(137, "oom", time.time_ns()))
    state = watch.state()
    assert state is not None and state.exit is not None
    assert (state.status, state.exit.reason) == (EXITED, "oom")


def test_a_parent_that_never_records_it_is_not_waited_for(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "RECORD_SECONDS", 0.0)
    state = Watch(entry).state()
    assert state is not None and state.exit is not None
    assert (state.status, state.exit.reason) == (EXITED, "killed")


def test_a_process_that_is_gone_without_a_record_was_killed(entry: Entry) -> None:
    run = entry.running
    assert run is not None
    os.waitpid(run.pid, 0)
    state = Watch(entry).state()
    assert state is not None and state.exit is not None
    assert (state.status, state.exit.reason) == (EXITED, "killed")
