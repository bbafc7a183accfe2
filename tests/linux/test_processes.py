"""Processes that are known again, and not mistaken for others."""

from __future__ import annotations

import os
import signal
import time

import pytest

from sampan.core.errors import Denied, Invalid, NotFound, Precondition
from sampan.linux import processes
from sampan.linux.processes import boot_id, is_same, open_pidfd, send_signal, start_time, wait_ended


@pytest.fixture
def sleeper():
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_the_start_time_names_a_process(sleeper):
    begin = start_time(sleeper)
    assert is_same(sleeper, begin)
    assert not is_same(sleeper, begin + 1)
    assert begin >= start_time(os.getpid())


def test_C23_a_zombie_and_a_gone_process_are_not_the_same_any_more(sleeper):
    begin = start_time(sleeper)
    pidfd = open_pidfd(sleeper)
    assert not wait_ended(pidfd, 0)
    send_signal(sleeper, begin, signal.SIGKILL)
    assert wait_ended(pidfd, 10)
    assert not is_same(sleeper, begin)
    os.waitpid(sleeper, 0)
    os.close(pidfd)
    assert not is_same(sleeper, begin)
    for call in (
        lambda: start_time(sleeper),
        lambda: open_pidfd(sleeper),
        lambda: send_signal(sleeper, begin, 0),
    ):
        with pytest.raises(NotFound):
            call()


def test_C23_a_reused_pid_is_never_signalled(sleeper):
    with pytest.raises(NotFound):
        send_signal(sleeper, start_time(sleeper) - 1, signal.SIGKILL)
    assert is_same(sleeper, start_time(sleeper))


@pytest.mark.parametrize("number", [-1, 65, 1000])
def test_C10_a_number_that_is_no_signal(sleeper, number):
    with pytest.raises(Invalid):
        send_signal(sleeper, start_time(sleeper), number)


def test_a_process_of_somebody_else(sleeper, nobody, in_child):
    def attempt():
        try:
            send_signal(sleeper, start_time(sleeper), signal.SIGKILL)
        except Denied:
            return True
        return False

    assert in_child(attempt, user=nobody)


def test_a_name_with_brackets_and_spaces_does_not_confuse(in_child):
    def rename():
        before = start_time(os.getpid())
        processes.set_name(") R 1 (x) 7")
        return before == start_time(os.getpid())

    assert in_child(rename)


def test_the_boot_has_a_name():
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()


@pytest.mark.parametrize("pid", [0, -1])
def test_a_number_that_is_no_pid(pid):
    with pytest.raises((Invalid, NotFound)):
        open_pidfd(pid)


def test_orphans_come_to_the_subreaper(in_child):
    def adopt():
        processes.set_child_subreaper()
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            parent = os.getpid()
            if os.fork() == 0:
                while os.getppid() == parent:
                    time.sleep(0.001)
                os.write(writing, str(os.getppid()).encode())
                os._exit(0)
            os._exit(0)
        os.waitpid(middle, 0)
        parent = int(os.read(reading, 20))
        os.wait()
        return parent == os.getpid()

    assert in_child(adopt)


def test_a_child_dies_with_its_parent(in_child):
    def family():
        processes.set_child_subreaper()
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            parent = os.getpid()
            if os.fork() == 0:
                processes.set_parent_death_signal(signal.SIGKILL, parent)
                os.write(writing, b"x")
                while True:
                    signal.pause()
            while True:
                signal.pause()
        os.read(reading, 1)
        os.kill(middle, signal.SIGKILL)
        codes = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2))
        try:
            processes.set_parent_death_signal(signal.SIGKILL, middle)
        except Precondition:
            return codes
        return None

    assert in_child(family) == [-9, -9]


def oom_score_adj():
    with open("/proc/self/oom_score_adj") as file:
        return int(file.read())


def test_oom_score_adj_is_set_and_inherited(in_child):
    def raise_it():
        wanted = min(oom_score_adj() + 100, 1000)
        processes.set_oom_score_adj(wanted)
        processes.set_oom_score_adj(wanted)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if oom_score_adj() == wanted else 1)
        return os.waitpid(pid, 0)[1]

    assert in_child(raise_it) == 0


def test_oom_score_adj_is_not_lowered_by_a_plain_user(nobody, in_child):
    def lower():
        try:
            processes.set_oom_score_adj(oom_score_adj() - 1)
        except Denied as error:
            return "oom_score_adj" in error.message
        return False

    assert in_child(lower, user=nobody)


@pytest.mark.parametrize("value", [-1001, 1001])
def test_an_oom_score_adj_that_there_is_not(value):
    with pytest.raises(Invalid):
        processes.set_oom_score_adj(value)


@pytest.mark.parametrize("words", [["/app.wasm", "one", ""], ["x" * 100_000, "y"], ["\ud800\udcff"], []])
def test_a_process_is_shown_with_the_command_line_that_it_takes(in_child, words):
    def take():
        with open("/proc/self/cmdline", "rb") as file:
            room = len(file.read())
        processes.set_command_line(words)
        with open("/proc/self/cmdline", "rb") as file:
            return room, file.read()

    room, shown = in_child(take)
    wanted = b"\0".join(word.encode(errors="backslashreplace") for word in words)[: room - 1]
    assert shown.rstrip(b"\0") == wanted.rstrip(b"\0")
    assert len(shown) == room
