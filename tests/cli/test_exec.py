"""`sampan exec`: another module in a running container's world."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sampan.linux.cgroups import Cgroup

from .conftest import Harbour, Terminal, until

NAME = "boat"
TOOL = "/toolbox.wasm"


@pytest.fixture
def boat(harbour: Harbour) -> Harbour:
    """A harbour with one container that sleeps."""
    harbour.start(NAME, "sleep", "100", flags=("-e", "KEPT=1", "-e", "CHANGED=1"))
    return harbour


def test_exec_shares_the_files_of_the_container(boat: Harbour) -> None:
    boat.ok("exec", NAME, TOOL, "write", "/note", "hello")
    assert boat.ok("exec", NAME, "toolbox.wasm", "cat", "/note") == "hello"


def test_exec_has_the_containers_environment_and_more(boat: Harbour) -> None:
    (boat.folder / "vars").write_text("# remark\nFILE=1\nOTHER=1\n")
    flags = ("-e", "CHANGED=2", "-e", "HOME", "--env-file", "vars", "-e", "OTHER=2")
    lines = boat.ok("exec", *flags, NAME, TOOL, "env").splitlines()
    assert {"KEPT=1", "CHANGED=2", f"HOME={boat.folder}", "FILE=1", "OTHER=2"} <= set(lines)
    names = [line.partition("=")[0] for line in lines]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("words", "code"), [(["exit", "0"], 0), (["exit", "255"], 255), (["trap"], 134)])
def test_exec_ends_with_the_guests_exit_code(boat: Harbour, words: list[str], code: int) -> None:
    assert boat("exec", NAME, TOOL, *words).returncode == code


def test_exec_passes_each_stream_on(boat: Harbour) -> None:
    done = boat("exec", NAME, TOOL, "stderr", "wrong")
    assert (done.stdout, done.stderr) == ("", "wrong\n")
    data = os.urandom(300_000).hex().encode()
    assert boat.ok("exec", "-i", NAME, TOOL, "stdin", stdin=data) == data.decode()
    assert boat.ok("exec", NAME, TOOL, "stdin", stdin=data) == ""


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ([NAME, "/absent.wasm"], "/absent.wasm: no such file in the container's root filesystem", 127),
        (["-d", NAME, "/absent.wasm"], "no such file in the container's root filesystem", 127),
        ([NAME, "/"], "is a folder", 126),
        ([NAME], "needs at least 2 arguments", 125),
        (["absent", TOOL], "no such container: absent", 125),
        (["--privileged", NAME, TOOL], "--privileged cannot be had", 125),
        (["-w", "relative", NAME, TOOL], "must start with '/'", 125),
        (["-u", "nobody", NAME, TOOL], "the image has no user 'nobody'", 125),
        (["-t", NAME, TOOL], "-t needs a terminal", 125),
        (["--env-file", "absent", NAME, TOOL], "absent", 125),
    ],
)
def test_exec_says_why_not(boat: Harbour, words: list[str], said: str, code: int) -> None:
    done = boat("exec", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_C9_exec_in_a_stopped_container_is_refused(harbour: Harbour) -> None:
    harbour.ok("run", "--name", NAME, harbour.image(), "exit", "0")
    done = harbour("exec", NAME, TOOL)
    assert done.returncode == 125
    assert f"container {NAME} is not running" in done.stderr


def test_a_plain_file_has_nothing_to_exec_from(harbour: Harbour) -> None:
    harbour.start_file(NAME, "sleep", "100")
    done = harbour("exec", NAME, TOOL)
    assert done.returncode == 125
    assert "runs a plain file, so it has no root filesystem" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_exec_passes_signals_on(boat: Harbour, number: int) -> None:
    running = boat.spawn("exec", NAME, TOOL, "tick", "1000", "10")
    assert running.stdout is not None
    assert running.stdout.readline() == b"tick 0\n"
    running.send_signal(number)
    running.communicate()
    assert running.returncode == 128 + number
    assert boat.ok("exec", NAME, TOOL, "echo", "still", "here") == "still here\n"


def test_exec_ends_with_its_container(boat: Harbour) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: a plain user has no cgroup")
    running = boat.spawn("exec", NAME, TOOL, "tick", "1000", "10")
    assert running.stdout is not None
    running.stdout.readline()
    boat.ok("rm", "-f", NAME)
    running.communicate()
    assert running.returncode == 137


def test_exec_in_the_background(boat: Harbour) -> None:
    assert boat.ok("exec", "-d", NAME, TOOL, "write", "/note", "written") == ""
    until(lambda: boat("exec", NAME, TOOL, "cat", "/note").stdout == "written")


def test_exec_as_another_user(boat: Harbour) -> None:
    done = boat("exec", "-u", "1234:1234", NAME, TOOL, "write", "/tmp-note", "x")
    if os.geteuid() != 0:
        assert "-u 1234:1234 cannot be had" in done.stderr
        return
    assert done.returncode == 1, "a user that is not root cannot write to /"
    boat.ok("exec", NAME, TOOL, "write", "/own", "x")


def test_exec_at_a_terminal(boat: Harbour) -> None:
    terminal = Terminal(boat, "exec", "-it", NAME, TOOL, "stdin")
    terminal.type(b"typed\n")
    terminal.until(b"typed\r\ntyped\r\n")
    terminal.type(b"\4")
    assert terminal.end() == 0
    terminal = Terminal(boat, "exec", "-it", NAME, TOOL, "env")
    terminal.until(b"TERM=xterm")
    assert terminal.end() == 0


def test_control_c_at_a_terminal_ends_exec(boat: Harbour) -> None:
    terminal = Terminal(boat, "exec", "-it", NAME, TOOL, "tick")
    terminal.until(b"tick 0")
    terminal.type(b"\3")
    assert terminal.end() == 130


def test_T3_what_exec_started_goes_with_its_container(harbour: Harbour) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: a plain user has no cgroup")
    cgroup = Cgroup(harbour.start(NAME, "sleep", "100"))
    harbour.ok("exec", "-d", NAME, TOOL, "sleep", "100")
    pids = cgroup.pids()
    assert len(pids) == 2
    harbour.ok("rm", "-f", NAME)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
