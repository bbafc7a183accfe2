"""`sampan attach`: input, output, signals and the keys to leave."""

from __future__ import annotations

import os
import select
import signal

import pytest

from .conftest import Harbour, Terminal, until

NAME = "boat"


def test_attach_passes_input_and_output_and_ends_with_the_exit_code(harbour: Harbour) -> None:
    harbour.start(NAME, "stdin", flags=("-i",))
    assert harbour.ok("attach", NAME, stdin=b"hello\n") == "hello\n"
    assert harbour.ok("logs", NAME) == "hello\n"


def test_W19_much_input_and_output_at_once_comes_through(harbour: Harbour) -> None:
    harbour.start(NAME, "stdin", flags=("-i",))
    data = os.urandom(4 << 20).hex().encode()
    assert harbour.ok("attach", NAME, stdin=data) == data.decode()


def test_W19_a_guest_that_writes_before_it_reads_is_not_waited_for(harbour: Harbour) -> None:
    (harbour.folder / "input").write_bytes(bytes(8 << 20))
    with open(harbour.folder / "input", "rb") as file:
        running = harbour.spawn("run", "-i", harbour.image(), "flood", "30000000", stdin=file)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, len(out), b"INTERNAL" in err) == (0, 30_000_000, False)


def test_attach_shows_each_stream_and_ends_with_the_guests_code(harbour: Harbour) -> None:
    harbour.start(NAME, "tick", "1000", "10")
    attached = harbour.spawn("attach", NAME)
    assert attached.stdout is not None
    assert attached.stdout.readline().startswith(b"tick ")
    harbour.ok("stop", NAME)
    attached.communicate()
    assert attached.returncode == 143


def test_no_stdin_leaves_the_input_alone(harbour: Harbour) -> None:
    harbour.start(NAME, "stdin", flags=("-i",))
    without, other = harbour.spawn("attach", "--no-stdin", NAME), harbour.spawn("attach", NAME)
    assert without.stdout is not None
    assert other.stdin is not None
    while not select.select([without.stdout], [], [], 0.1)[0]:
        other.stdin.write(b"from the other\n")
        other.stdin.flush()
    other.communicate()
    shown = without.communicate(b"not passed on\n")[0]
    assert set(shown.splitlines()) == {b"from the other"}
    assert without.returncode == 0


def test_signals_are_passed_on_unless_not_wanted(harbour: Harbour) -> None:
    harbour.start(NAME, "tick", "1000", "10")
    for flag, code in (("--sig-proxy=false", 130), ("--sig-proxy=true", 128 + signal.SIGINT)):
        attached = harbour.spawn("attach", flag, NAME)
        assert attached.stdout is not None
        attached.stdout.readline()
        attached.send_signal(signal.SIGINT)
        attached.communicate()
        assert attached.returncode == code
    assert harbour("attach", NAME).returncode == 1
    assert "is not running" in harbour("attach", NAME).stderr


def test_a_person_leaves_by_the_keys_and_comes_back(harbour: Harbour) -> None:
    harbour.start(NAME, "stdin", flags=("-it",))
    terminal = Terminal(harbour, "attach", NAME)
    terminal.until_raw()
    terminal.type(b"one\r")
    terminal.until(b"one\r\none\r\n")
    terminal.type(b"\x10\x11")  # ctrl-p, ctrl-q
    assert terminal.end() == 0
    terminal = Terminal(harbour, "attach", "--detach-keys", "a,b", NAME)
    terminal.until_raw()
    terminal.type(b"\x10\x11two\r")
    terminal.until(b"two\r\n")
    terminal.type(b"a")
    terminal.type(b"b")
    assert terminal.end() == 0
    terminal = Terminal(harbour, "attach", NAME)
    terminal.until_raw()
    terminal.type(b"\r\4")
    assert terminal.end() == 0, "the workload has read its input to the end"


def test_control_c_at_the_terminal_of_a_container_goes_to_it(harbour: Harbour) -> None:
    harbour.start(NAME, "tick", "1000", "10", flags=("-it",))
    terminal = Terminal(harbour, "attach", NAME)
    terminal.until(b"tick")
    terminal.type(b"\3")
    assert terminal.end() == 130


def test_a_container_in_the_foreground_has_nothing_to_attach_to(harbour: Harbour) -> None:
    running = harbour.spawn("run", "--rm", "--name", NAME, harbour.image(), "tick", "1000", "10")
    assert running.stdout is not None
    running.stdout.readline()
    done = harbour("attach", NAME)
    assert done.returncode == 1
    assert "writes straight to the terminal or pipe of the command that runs it" in done.stderr
    running.terminate()
    running.communicate()


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["absent"], "no such container", 1),
        (["--detach-keys", "ctrl-ctrl", "absent"], "is no key", 1),
        ([], "needs exactly 1 argument", 125),
    ],
)
def test_attach_says_why_not(harbour: Harbour, words: list[str], said: str, code: int) -> None:
    done = harbour("attach", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_container_that_is_killed_ends_attach(harbour: Harbour) -> None:
    harbour.start(NAME, "tick", "1000", "10")
    attached = harbour.spawn("attach", NAME)
    assert attached.stdout is not None
    attached.stdout.readline()
    harbour.ok("kill", NAME)
    attached.communicate()
    assert attached.returncode == 137
    until(lambda: not harbour.ok("ps", "-q"))


def test_when_a_run_at_a_terminal_returns_its_name_is_free_again(harbour: Harbour) -> None:
    for _ in range(3):
        terminal = Terminal(harbour, "run", "--rm", "-it", "--name", NAME, harbour.image(), "exit", "3")
        assert terminal.end() == 3
        assert harbour.ok("ps", "-aq") == ""


def test_a_run_whose_container_is_removed_ends_as_its_process_does(harbour: Harbour) -> None:
    for _ in range(5):
        running = harbour.spawn("run", "--rm", "--name", NAME, harbour.image(), "sleep", "1000")
        until(lambda: harbour("ps", "--format", "{{.Names}}").stdout.strip() == NAME)
        harbour("rm", "-f", NAME)
        _, err = running.communicate(timeout=60)
        assert (running.returncode, err) == (137, b"")
