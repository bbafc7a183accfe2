"""Locks between processes."""

from __future__ import annotations

import os
import signal
import stat

import pytest

from sampan.core.errors import Invalid, NotFound, Precondition, SampanError
from sampan.linux.locks import FileLock


def test_X12_one_holder_at_a_time_and_many_shared(tmp_path):
    path = f"{tmp_path}/lock"
    with FileLock(path):
        assert not FileLock(path).try_acquire()
        assert not FileLock(path, shared=True).try_acquire()
    first, second = FileLock(path, shared=True), FileLock(path, shared=True)
    assert first.try_acquire()
    assert second.try_acquire()
    assert not FileLock(path).try_acquire()
    first.release()
    second.release()
    again = FileLock(path)
    assert again.try_acquire()
    again.release()
    again.release()


def test_the_lock_goes_with_its_holder(tmp_path):
    path = f"{tmp_path}/lock"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        FileLock(path).acquire()
        os.write(writing, b"x")
        signal.pause()
    assert os.read(reading, 1) == b"x"
    assert not FileLock(path).try_acquire()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with FileLock(path):
        pass
    os.close(reading)
    os.close(writing)


def test_the_file_is_private_and_closed_on_exec(tmp_path):
    path = f"{tmp_path}/lock"
    with FileLock(path) as lock:
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
        assert not os.get_inheritable(lock.fd)


def test_what_cannot_be_locked_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(SampanError):
        FileLock(f"{tmp_path}/link").acquire()
    assert os.listdir(tmp_path) == ["link"]
    with pytest.raises(NotFound):
        FileLock(f"{tmp_path}/missing/lock").acquire()
    with pytest.raises(Invalid):
        FileLock("a\0b").acquire()
    lock = FileLock(f"{tmp_path}/lock")
    with lock, pytest.raises(Precondition):
        lock.acquire()
