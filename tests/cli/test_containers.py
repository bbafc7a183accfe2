"""A container's life from the command line: create, start, stop, kill, restart, wait, rename, rm, prune.

Rows C7, C8, C9, C10, C23, F17.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from .conftest import TOOLBOX, Harbour, Sampan, until


def status(harbour: Harbour, name: str) -> str:
    return harbour.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name).strip()


def pid_of(harbour: Harbour, name: str) -> int:
    return int(harbour.ok("inspect", "-f", "{{.State.Pid}}", name))


def create(harbour: Harbour, name: str, *words: str, flags: tuple[str, ...] = ()) -> str:
    return harbour.ok("create", "--name", name, *flags, str(TOOLBOX), *words).strip()


def test_create_then_start(harbour: Harbour) -> None:
    container_id = create(harbour, "job", "echo", "hello")
    assert re.fullmatch("[0-9a-f]{64}", container_id)
    assert status(harbour, "job") == "created 0"
    assert harbour.ok("start", "job") == "job\n"
    assert harbour.ok("wait", "job") == "0\n"
    assert harbour.ok("logs", "job") == "hello\n"
    assert harbour.ok("start", container_id[:8]) == container_id[:8] + "\n"
    harbour.ok("wait", "job")
    assert harbour.ok("logs", "job") == "hello\nhello\n"


def test_start_attached(harbour: Harbour) -> None:
    create(harbour, "cat", "stdin", flags=("-i",))
    done = harbour("start", "-ai", "cat", stdin=b"in and out\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "in and out\n", "")
    create(harbour, "seven", "exit", "7")
    assert harbour("start", "-a", "seven").returncode == 7
    create(harbour, "loud", "stderr", "oh")
    done = harbour("start", "-a", "loud")
    assert (done.stdout, done.stderr) == ("", "oh\n")
    done = harbour("start", "-a", "cat", "seven")
    assert (done.returncode, "only one container" in done.stderr) == (125, True)


def test_a_signal_to_an_attached_start_reaches_the_workload(harbour: Harbour) -> None:
    create(harbour, "long", "tick")
    starter = harbour.spawn("start", "-a", "long")
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"tick 0\n"
    starter.send_signal(signal.SIGTERM)
    starter.communicate(timeout=60)
    assert starter.returncode == 143
    assert status(harbour, "long") == "exited 143"


def test_commands_go_on_after_a_name_that_fails(harbour: Harbour) -> None:
    create(harbour, "one", "sleep", "100")
    for verb in ("start", "restart", "kill", "start", "stop", "wait", "rm"):
        done = harbour(verb, "absent", "one")
        assert done.returncode == 1, verb
        assert done.stdout.strip() == ("143" if verb == "wait" else "one"), verb
        assert done.stderr == "sampan: no such container: absent; sampan ps -a lists them (NOT_FOUND)\n", verb
    assert harbour.ok("ps", "-aq") == ""


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b", "a\nb", "x" * 1025, "ü", "a\x1b[31m"])
def test_C7_names_that_are_none(harbour: Harbour, name: str) -> None:
    made = harbour("create", f"--name={name}", str(TOOLBOX))
    if name:  # no name means a name of ours
        assert (made.returncode, "is not a container name" in made.stderr) == (125, True)
    assert "\x1b" not in made.stderr
    create(harbour, "one")
    renamed = harbour("rename", "--", "one", name)
    assert (renamed.returncode, "is not a container name" in renamed.stderr) == (1, True)
    for verb in ("start", "stop", "kill", "rm", "logs", "wait", "port", "inspect"):
        done = harbour(verb, "--", name)
        assert done.returncode == 1, verb
        assert done.stderr.startswith("sampan: "), verb
    assert status(harbour, "one") == "created 0"


def test_C8_of_many_that_want_one_name_one_gets_it(harbour: Harbour) -> None:
    racers = [harbour.spawn("create", "--name", "same", str(TOOLBOX)) for _ in range(8)]
    said = [racer.communicate(timeout=60)[1] for racer in racers]
    assert sorted(racer.returncode for racer in racers) == [0] + [125] * 7
    assert sum(b"(EXISTS)" in text for text in said) == 7
    assert len(harbour.ok("ps", "-aq").split()) == 1


def test_C9_what_a_state_does_not_allow(harbour: Harbour) -> None:
    create(harbour, "c", "sleep", "100")
    for verb, said in {"kill": "c is not running", "wait": "c was never started"}.items():
        done = harbour(verb, "c")
        assert (done.returncode, said in done.stderr, "(PRECONDITION)" in done.stderr) == (1, True, True), (
            verb
        )
    assert harbour.ok("stop", "c") == "c\n"  # as Docker: what does not run is stopped
    harbour.ok("start", "c")
    pid = pid_of(harbour, "c")
    assert harbour.ok("start", "c") == "c\n"  # as Docker: what runs is started
    assert pid_of(harbour, "c") == pid
    refused = harbour("rm", "c")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "container c is running; stop it first: sampan stop c, or remove it with -f" in refused.stderr
    assert pid_of(harbour, "c") == pid
    assert harbour.ok("rm", "-f", "c") == "c\n"
    assert not Path(f"/proc/{pid}/status").exists()
    again = harbour("rm", "-f", "c")
    assert (again.returncode, again.stdout, "(NOT_FOUND)" in again.stderr) == (0, "", True)
    assert harbour("rm", "c").returncode == 1


def test_C9_removals_at_the_same_time(harbour: Harbour) -> None:
    harbour.start_file("one", "sleep", "100")
    racers = [harbour.spawn("rm", "-f", "one") for _ in range(4)]
    for racer in racers:
        racer.communicate(timeout=60)
    assert [racer.returncode for racer in racers] == [0] * 4
    assert harbour.ok("ps", "-aq") == ""


@pytest.mark.parametrize("text", ["0", "65", "SIGFOO", "-1", "", "1.5", "RTMIN+99"])
def test_C10_signals_that_are_none(harbour: Harbour, text: str) -> None:
    harbour.start_file("one", "sleep", "100")
    for verb in ("kill", "stop", "restart"):
        done = harbour(verb, "-s", text, "one")
        assert (done.returncode, "(INVALID)" in done.stderr) == (1, True), verb
    assert status(harbour, "one") == "running 0"


@pytest.mark.parametrize(("text", "code"), [("TERM", 143), ("sigint", 130), ("9", 137), ("SIGUSR1", 138)])
def test_kill_by_name_or_number(harbour: Harbour, text: str, code: int) -> None:
    harbour.start_file("one", "sleep", "100")
    assert harbour.ok("kill", "-s", text, "one") == "one\n"
    assert harbour.ok("wait", "one") == f"{code}\n"


def test_kill_is_for_good_whatever_the_policy(harbour: Harbour) -> None:
    harbour.start_file("always", "sleep", "100", flags=("--restart", "always"))
    harbour.ok("kill", "always")
    assert harbour.ok("wait", "always") == "137\n"
    assert status(harbour, "always") == "exited 137"


@pytest.mark.parametrize("words", [["loop"], ["sleep", "1000"], ["stdin"], ["flood", "1000000000"]])
def test_F17_uncooperative_guests_stop(harbour: Harbour, words: list[str]) -> None:
    harbour.start_file("one", *words, flags=("-i",))
    pid = pid_of(harbour, "one")
    assert harbour.ok("stop", "-t", "2", "one") == "one\n"
    assert status(harbour, "one") == "exited 143"
    assert not Path(f"/proc/{pid}").exists()


def test_F17_one_that_does_not_hear_is_killed_after_the_time(harbour: Harbour) -> None:
    """Stopped processes act on nothing but SIGKILL; their times run side by side, so all end by one bound."""
    names = ["one", "two", "three", "four"]
    for name in names:
        harbour.start_file(name, "sleep", "1000", flags=("--stop-timeout", "3600"))
        os.kill(pid_of(harbour, name), signal.SIGSTOP)
    assert harbour.ok("stop", "--time", "0.2", *names) == "".join(f"{name}\n" for name in names)
    assert {status(harbour, name) for name in names} == {"exited 137"}


def test_stop_uses_the_containers_own_signal_or_the_given_one(harbour: Harbour) -> None:
    harbour.start_file("one", "sleep", "100", flags=("--stop-signal", "INT"))
    harbour.ok("stop", "one")
    assert status(harbour, "one") == "exited 130"
    harbour.ok("start", "one")
    harbour.ok("stop", "-s", "HUP", "-t", "-1", "one")
    assert status(harbour, "one") == "exited 129"
    assert harbour("stop", "-t", "soon", "one").returncode == 1


def test_restart_is_another_run(harbour: Harbour) -> None:
    harbour.start_file("one", "tick", "1000", "10")
    first = pid_of(harbour, "one")
    for _ in range(5):  # each meets the end of the run before
        assert harbour.ok("restart", "-t", "5", "one", "one") == "one\n"
        second = pid_of(harbour, "one")
        assert second != first
        first = second
    harbour.ok("stop", "one")
    assert harbour.ok("restart", "one") == "one\n"
    assert status(harbour, "one") == "running 0"


def test_one_that_goes_when_it_ends(harbour: Harbour) -> None:
    harbour.start_file("gone", "sleep", "100", flags=("--rm",))
    refused = harbour("restart", "gone")
    assert (refused.returncode, "cannot be restarted" in refused.stderr) == (1, True)
    waiter = harbour.spawn("wait", "gone")
    assert status(harbour, "gone") == "running 0"
    assert harbour.ok("stop", "gone") == "gone\n"
    assert waiter.communicate(timeout=60) == (b"143\n", b"")
    until(lambda: harbour.ok("ps", "-aq") == "")


def test_wait_prints_codes_in_order(harbour: Harbour) -> None:
    harbour.start_file("slow", "sleep", "1")
    harbour.start_file("three", "exit", "3")
    harbour.start_file("trap", "trap")
    assert harbour.ok("wait", "slow", "three", "trap") == "0\n3\n134\n"


def test_rename(harbour: Harbour) -> None:
    one, two = create(harbour, "one"), create(harbour, "two")
    assert harbour.ok("rename", "one", "first") == ""
    assert harbour("inspect", "one").returncode == 1
    assert harbour.ok("inspect", "-f", "{{.Id}} {{.Name}}", "first") == f"{one} /first\n"
    taken = harbour("rename", "first", "two")
    assert (taken.returncode, f"in use by container {two[:12]}" in taken.stderr) == (1, True)
    assert harbour("rename", "absent", "x").returncode == 1


def test_ids_can_be_shortened_until_they_are_not_clear(harbour: Harbour) -> None:
    one, two = create(harbour, "one"), create(harbour, "two")
    folder = harbour.folder_of(two)
    twin = one[:63] + ("0" if one[63] != "0" else "1")
    document = json.loads((folder / "container.json").read_text())
    (folder / "container.json").write_text(json.dumps(document | {"id": twin}))
    folder.rename(harbour.folder_of(twin))
    assert harbour.ok("inspect", "-f", "{{.Name}}", one) == "/one\n"
    unclear = harbour("rm", one[:12])
    assert (unclear.returncode, "is the beginning of 2 container ids" in unclear.stderr) == (1, True)


@pytest.mark.parametrize("document", ["container.json", "running.json", "config.json", "exit.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\0", b'{"pid":"x"}'])
def test_C23_a_broken_container_is_removed_with_its_process(
    harbour: Harbour, document: str, content: bytes
) -> None:
    container_id = harbour.start_file("broken", "sleep", "1000")
    pid = pid_of(harbour, "broken")
    (harbour.folder_of(container_id) / document).write_bytes(content)
    assert container_id in harbour.ok("rm", "-f", container_id)
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert harbour.ok("ps", "-aq") == ""
    assert harbour("ps").stderr == ""


def test_C23_without_force_a_broken_container_stays(harbour: Harbour) -> None:
    container_id = create(harbour, "broken")
    (harbour.folder_of(container_id) / "container.json").write_bytes(b"{")
    done = harbour("rm", container_id)
    assert (done.returncode, "(DATA_LOSS)" in done.stderr, "sampan rm -f" in done.stderr) == (1, True, True)
    assert harbour.folder_of(container_id).is_dir()


def test_prune_removes_what_does_not_run(harbour: Harbour) -> None:
    harbour.start_file("up", "sleep", "100")
    harbour.start_file("again", "exit", "1", flags=("--restart", "always"))
    until(lambda: harbour.ok("inspect", "-f", "{{.RestartCount}}", "again") != "0\n")
    kept = create(harbour, "kept", flags=("-l", "keep=2"))
    done = create(harbour, "done", flags=("-l", "keep=1"))
    assert "Total reclaimed space: 0B" in harbour.ok("container", "prune", "-f", "--filter", "until=1h")
    asked = harbour("container", "prune", stdin=b"n\n")
    assert (asked.returncode, "WARNING! This will remove all stopped containers." in asked.stdout) == (
        0,
        True,
    )
    out = harbour.ok("container", "prune", "-f", "--filter", "label=keep=1")
    assert re.fullmatch(rf"Deleted Containers:\n{done}\n\nTotal reclaimed space: \S+B\n", out)
    assert kept in harbour("container", "prune", stdin=b"y\n").stdout
    assert sorted(harbour.ok("ps", "-a", "--format", "{{.Names}}").split()) == ["again", "up"]


@pytest.mark.parametrize("command", ["container", "system"])
def test_prune_leaves_the_containers_of_pods_to_their_kubelet(harbour: Harbour, command: str) -> None:
    kept, done = create(harbour, "kept"), create(harbour, "done")
    record = harbour.folder_of(kept) / "container.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"pod": "0123456789abcdef"}))
    assert done in harbour.ok(command, "prune", "-f")
    assert harbour.ok("ps", "-a", "--format", "{{.Names}}").split() == ["kept"]


def test_nothing_is_left(harbour: Harbour) -> None:
    """T3: after `rm`, no process, no folder, no socket of the containers; and the zygote goes by itself."""
    harbour.start("one", "sleep", "100", flags=("-v", "/anonymous", "-m", "64m"))
    harbour.start("two", "exit", "0", flags=("--rm",))
    harbour.ok("rm", "-fv", "one")
    until(lambda: harbour.ok("ps", "-aq") == "")
    assert list((harbour.folder / "data" / "volumes").iterdir()) == []
    assert [p.name for p in (harbour.folder / "data" / "containers").iterdir()] == [".lock"]
    until(lambda: _processes(harbour) == [])
    assert not (harbour.folder / "run" / "zygote").exists()


def _processes(harbour: Harbour) -> list[str]:
    """The processes that have our roots on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(harbour.folder / "run").encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(folder.name)
        except OSError:
            continue
    return found


def test_containers_complete(harbour: Harbour, sampan: Sampan) -> None:
    create(harbour, "swift")
    harbour.image()
    for verb in ("start", "stop", "kill", "restart", "rm", "wait", "logs", "port", "rename", "inspect"):
        assert f"swift\t{TOOLBOX.name}" in harbour.ok("__complete", verb, "sw").splitlines(), verb
    assert "toolbox:latest" in harbour.ok("__complete", "inspect", "")
    assert harbour.ok("__complete", "inspect", "--type", "c") == "container\n"


@pytest.mark.parametrize("timeout", ["9" * 20, "99999999999h", "3000000"])
def test_stop_waits_as_long_as_it_is_told_to(harbour: Harbour, timeout: str) -> None:
    harbour.start_file("one", "sleep", "100", flags=("--stop-timeout", timeout))
    harbour.ok("stop", "one")
    harbour.ok("start", "one")
    assert harbour.ok("stop", "-t", timeout, "one") == "one\n"
    assert status(harbour, "one") == "exited 143"
