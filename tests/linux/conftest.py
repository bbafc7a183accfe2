"""Forked children: what changes a process for good is tried in one that ends with the test."""

from __future__ import annotations

import marshal
import os
import select
import signal
import traceback

import pytest

from sampan.linux import syscalls

NOBODY = 65534
PR_SET_DUMPABLE = 4


def _report(fn, user):
    try:
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            syscalls.call("prctl", PR_SET_DUMPABLE, 1)  # as a program that this user started is
        return marshal.dumps(("value", fn()))
    except BaseException:
        return marshal.dumps(("error", traceback.format_exc()))


def run_in_child(fn, *, user=None, timeout=60):
    """What `fn()` returns (a plain value) in a forked child; fails the test if it raised, died or took too long."""
    reading, writing = os.pipe()
    syscalls.load()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            os.write(writing, _report(fn, user))
        finally:  # whatever happens, a child must never go on as the test runner
            os._exit(0)
    os.close(writing)
    data = b""
    while select.select([reading], [], [], timeout)[0]:
        piece = os.read(reading, 65536)
        if not piece:
            break
        data += piece
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if not data:
        pytest.fail(f"the child ended with status {os.waitstatus_to_exitcode(status)} and no word")
    kind, value = marshal.loads(data)
    if kind == "error":
        pytest.fail(f"in the child:\n{value}")
    return value


@pytest.fixture
def in_child():
    return run_in_child


@pytest.fixture
def open_folder(tmp_path, tmp_path_factory):
    """`tmp_path` as a folder that every user may use."""
    top = tmp_path_factory.getbasetemp()
    ours = [top, *[path for path in top.parents if path.name.startswith("pytest-")]]
    for above in ours:
        os.chmod(above, 0o755)
    os.chmod(tmp_path, 0o777)
    return tmp_path


@pytest.fixture
def nobody():
    """The id of an ordinary user; only root can become one."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    return NOBODY


@pytest.fixture
def as_root():
    if os.geteuid() != 0:
        pytest.skip("needs root")
