"""`sampan-oci run` handed to a warm process: as a process of its own does it, or not at all.

The launcher is installed without an interpreter: what comes out was done by a process of the zygote's.
"""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zygotes import start_zygote

from ..waiting import until
from .conftest import Runtime

ROOT = Path(__file__).parents[2]


class Desk:
    """A zygote with a desk, and a launcher that comes to it."""

    def __init__(self, oci: Runtime, folder: Path) -> None:
        self.oci = oci
        self.run = folder / "run"
        self.env = {
            "PATH": "/nowhere",
            "SAMPAN_ROOT": oci.env["SAMPAN_ROOT"],
            "SAMPAN_RUN_ROOT": str(self.run),
        }
        self.shell: list[str] = []
        (folder / "bin").mkdir()
        self.launcher = shutil.copy(ROOT / "scripts" / "sampan", folder / "bin" / "sampan-oci")
        self.zygote = self.open()

    @property
    def folder(self) -> Path:
        return self.run / "desk"

    def open(self) -> subprocess.Popen[bytes]:
        return start_zygote(
            self.oci.env["SAMPAN_ROOT"], self.run, self.env, lambda: resource.setrlimit(*LIMIT)
        )

    def close(self) -> None:
        self.zygote.kill()
        self.zygote.wait()

    def start(self, *words: str, cwd: Path | None = None, **others: Any) -> subprocess.Popen[str]:
        """Starts the launcher with these words behind the global options."""
        options = ["--root", str(self.oci.root), "--log", str(self.oci.log), "--log-format", "json"]
        given: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "stdin": subprocess.PIPE,
        }
        given.update(others)
        limits = given.pop("preexec_fn", lambda: resource.setrlimit(*LIMIT))
        return subprocess.Popen(
            [*self.shell, self.launcher, *options, *words],
            env=self.env,
            cwd=cwd,
            text=True,
            preexec_fn=limits,
            **given,
        )

    def __call__(self, *words: str, stdin_text: str = "", **others: Any) -> tuple[int, str, str]:
        process = self.start(*words, **others)
        out, err = process.communicate(stdin_text, timeout=60)
        return process.returncode, out, err

    def running(self) -> tuple[subprocess.Popen[str], int]:
        """A launcher whose container runs, and that container's process."""
        container_id = self.oci.new_id()
        process = self.start("run", "-b", str(self.oci.bundle()), container_id)
        state = self.oci.root / container_id / "running.json"
        until(lambda: state.exists() and state.stat().st_size)
        until(lambda: (state.parent / "begun").stat().st_size)
        return process, json.loads(state.read_text())["pid"]


LIMIT = (resource.RLIMIT_CORE, (0, 0))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def left_to_python(code: int, out: str, err: str) -> bool:
    return code == 127 and "python3" in err and not out


@pytest.fixture
def desk(oci: Runtime, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(oci, tmp_path)
    yield desk
    desk.close()


def test_it_is_the_same_with_the_callers_descriptors_folder_and_environment(desk: Desk) -> None:
    bundle = desk.oci.bundle("/app.wasm", "stdin")
    assert desk("run", desk.oci.new_id(), cwd=bundle, stdin_text="in and out\n") == (0, "in and out\n", "")
    bundle = desk.oci.bundle("/app.wasm", "args", "a b", "", "c\nd")
    cold = desk.oci("run", "-b", str(bundle), desk.oci.new_id())
    assert desk("run", "-b", str(bundle), desk.oci.new_id()) == (cold.code, cold.out, cold.err)


def test_what_it_prints_goes_on_where_the_callers_file_was(desk: Desk, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        file.write("before\n")
        file.flush()
        bundle = desk.oci.bundle("/app.wasm", "echo", "it runs")
        assert desk("run", "-b", str(bundle), desk.oci.new_id(), stdout=file)[0] == 0
        file.write("after\n")
    assert (tmp_path / "out").read_text() == "before\nit runs\nafter\n"


@pytest.mark.parametrize("code", [0, 1, 7, 127, 255])
def test_exit_codes(desk: Desk, code: int) -> None:
    assert (
        desk("run", "-b", str(desk.oci.bundle("/app.wasm", "exit", str(code))), desk.oci.new_id())[0] == code
    )


def test_an_error_is_the_one_sentence(desk: Desk, tmp_path: Path) -> None:
    code, out, err = desk("run", "-b", str(tmp_path / "nothing"), "a")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("sampan-oci run: ") and desk.oci.logged()[-1]["level"] == "error"


@pytest.mark.parametrize("shell", [["/bin/bash", "--posix"], ["/usr/bin/busybox", "sh"]])
def test_any_systems_shell_will_do(desk: Desk, shell: list[str]) -> None:
    desk.shell = shell
    assert desk("run", "-b", str(desk.oci.bundle("/app.wasm", "exit", "9")), desk.oci.new_id())[0] == 9
    process, pid = desk.running()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_goes_on_to_the_container(desk: Desk, number: int) -> None:
    process, pid = desk.running()
    assert parent(parent(pid)) == desk.zygote.pid
    process.send_signal(number)
    assert ended(process)[0] == 128 + number
    assert not Path(f"/proc/{pid}").exists()


def test_a_signal_before_there_is_anybody_to_have_it_is_not_lost(desk: Desk) -> None:
    os.kill(desk.zygote.pid, signal.SIGSTOP)
    try:
        process = desk.start("run", "-b", str(desk.oci.bundle()), desk.oci.new_id())
        until(lambda: any(desk.folder.glob("*.taken")))
        call = Path(f"/proc/{process.pid}/syscall")
        until(lambda: call.read_text().startswith(("0 0x0 ", "7 ")))  # it reads its slot, or polls
        process.send_signal(signal.SIGTERM)
    finally:
        os.kill(desk.zygote.pid, signal.SIGCONT)
    assert ended(process)[0] in (
        128 + signal.SIGTERM,
        -signal.SIGTERM,
    )  # the container's, or before there was one


def test_a_terminal_is_the_containers(desk: Desk) -> None:
    bundle = desk.oci.bundle("/app.wasm", "stdin", change=lambda d: d["process"].update(terminal=True))
    master, terminal = pty.openpty()
    process = desk.start("run", "-b", str(bundle), desk.oci.new_id(), stdin=terminal, stdout=terminal)
    os.close(terminal)
    until(lambda: not _echoes(master))
    os.write(master, b"typed\n\4")
    assert ended(process)[0] == 0
    assert b"typed" in os.read(master, 4096)
    os.close(master)


def _echoes(master: int) -> bool:
    import termios

    return bool(termios.tcgetattr(master)[3] & termios.ECHO)


def test_when_the_zygote_is_killed_the_container_goes_on(desk: Desk) -> None:
    process, pid = desk.running()
    desk.close()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    assert not Path(f"/proc/{pid}").exists()


def test_when_the_warm_process_is_killed_it_is_said(desk: Desk) -> None:
    process, pid = desk.running()
    os.kill(parent(pid), signal.SIGKILL)
    assert process.wait(60) == 137
    os.kill(pid, signal.SIGKILL)  # it goes on, as under any runtime that is killed
    assert ended(process) == (137, "", "sampan-oci: the process that ran this was killed\n")


def test_a_zygote_that_is_gone_is_not_waited_for(desk: Desk) -> None:
    bundle = str(desk.oci.bundle("/app.wasm", "echo"))
    desk.close()
    assert desk.folder.exists()
    assert left_to_python(*desk("run", "-b", bundle, desk.oci.new_id()))
    desk.zygote = desk.open()
    assert desk("run", "-b", bundle, desk.oci.new_id())[0] == 0


def test_a_zygote_that_dies_with_a_launcher_at_the_desk_lets_it_go(desk: Desk) -> None:
    os.kill(desk.zygote.pid, signal.SIGSTOP)
    process = desk.start("run", "-b", str(desk.oci.bundle()), desk.oci.new_id())
    until(lambda: any(desk.folder.glob("*.taken")))
    desk.close()
    assert left_to_python(*ended(process))


@pytest.mark.parametrize(
    "words",
    [
        ("run", "-d", "x"),
        ("run", "--detach", "x"),
        ("run", "--console-socket", "/nowhere", "x"),
        ("run", "--preserve-fds=1", "x"),
        ("exec", "x"),
    ],
)
def test_what_needs_the_callers_own_process_is_left_to_it(desk: Desk, words: tuple[str, ...]) -> None:
    assert left_to_python(*desk(*words))


def _nicer() -> None:
    os.nice(5)


def _elsewhere() -> None:
    import ctypes

    ctypes.CDLL(None).unshare(0x04000000)  # CLONE_NEWUTS


def _harder_to_kill() -> None:
    Path("/proc/self/oom_score_adj").write_text("500")


@pytest.mark.parametrize("change", [_nicer, _elsewhere, _harder_to_kill])
def test_a_caller_that_is_not_as_the_zygote_is_does_it_by_itself(
    desk: Desk, change: Callable[[], None]
) -> None:
    def alter() -> None:
        resource.setrlimit(*LIMIT)
        change()

    bundle = str(desk.oci.bundle("/app.wasm", "echo"))
    assert left_to_python(*desk("run", "-b", bundle, desk.oci.new_id(), preexec_fn=alter))
    assert desk("run", "-b", bundle, desk.oci.new_id())[0] == 0


def test_more_launchers_than_slots_all_come_to_their_end(desk: Desk) -> None:
    bundle = str(desk.oci.bundle("/app.wasm", "echo", "it runs"))
    processes = [desk.start("run", "-b", bundle, desk.oci.new_id()) for _ in range(24)]
    ends = [ended(process) for process in processes]
    warm = [end for end in ends if end == (0, "it runs\n", "")]
    assert len(warm) >= 8
    assert [end for end in ends if end not in warm and not left_to_python(*end)] == []
    assert list(desk.folder.glob("*.taken")) == []


def test_slots_whose_launchers_are_gone_are_free_again(desk: Desk) -> None:
    for slot in range(8):
        (desk.folder / f"{slot}.taken").write_text(f"{2**22 + 1}\n")
    bundle = str(desk.oci.bundle("/app.wasm", "echo"))
    assert left_to_python(*desk("run", "-b", bundle, desk.oci.new_id()))
    until(lambda: not list(desk.folder.glob("*.taken")))
    assert desk("run", "-b", bundle, desk.oci.new_id())[0] == 0


def test_a_slot_whose_launcher_is_there_stays_its_own(desk: Desk) -> None:
    for slot in range(8):
        (desk.folder / f"{slot}.taken").write_text(f"{os.getpid()}\n")
    bundle = str(desk.oci.bundle("/app.wasm", "echo"))
    for _ in range(2):
        assert left_to_python(*desk("run", "-b", bundle, desk.oci.new_id()))
    assert len(list(desk.folder.glob("*.taken"))) == 8


@pytest.mark.parametrize("shell", [[], ["/bin/bash", "--posix"], ["/usr/bin/busybox", "sh"]])
@pytest.mark.parametrize("fd", [0, 1, 2])
def test_a_caller_without_a_standard_descriptor_does_it_by_itself(
    desk: Desk, shell: list[str], fd: int
) -> None:
    desk.shell = shell

    def alter() -> None:
        resource.setrlimit(*LIMIT)
        os.close(fd)

    code, out, err = desk("run", "-b", str(desk.oci.bundle("/app.wasm", "echo")), "x", preexec_fn=alter)
    assert "descriptor" not in err and list(desk.folder.glob("*.taken")) == []
    if fd != 2:  # bash opens /dev/null in the place of a standard error that is closed
        assert left_to_python(code, out, err)


def test_a_desk_that_was_removed_harms_nobody(desk: Desk) -> None:
    bundle = str(desk.oci.bundle("/app.wasm", "echo", "it runs"))
    fd = os.open(desk.folder / "in", os.O_WRONLY)
    shutil.rmtree(desk.folder)
    os.write(fd, b"0 1 0 sampan.doors.oci.warm\n" * 9)
    os.close(fd)
    assert left_to_python(*desk("run", "-b", bundle, desk.oci.new_id()))
    with pytest.raises(subprocess.TimeoutExpired):
        desk.zygote.wait(0.2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.from_regex(rb"\A-?\d{1,3} -?\d{1,9} -?\d{1,9} [a-z.]{1,40}\n", fullmatch=True)
)
def test_whatever_is_written_at_the_desk_harms_nobody(desk: Desk, line: bytes) -> None:
    with (desk.folder / "in").open("wb", buffering=0) as file:
        file.write(line + b"\n")
    assert desk.zygote.poll() is None
    assert left_to_python(*desk("state", "x"))


def test_only_doors_are_run(desk: Desk) -> None:
    command = 'hand_over() { exec 9>&-; echo "$slot $$ 0 $0" >&7; read -r word <&8; echo "$word"; }'
    text = Path(desk.launcher).read_text().replace("hand_over() {", f"{command}\nnothing() {{")
    for module in (
        "os",
        "sampan.container.process.warm",
        "sampan.doors.nothing.warm",
        "sampan.doors.oci.main",
    ):
        script = text.replace('$0" >&7', f'{module}" >&7')
        done = subprocess.run(
            ["/bin/sh", "-c", f'self=$0; {script}', "/x/sampan-oci", "run", "x"],
            env=desk.env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout == "no\n", (module, done)
