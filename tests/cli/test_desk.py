"""`sampan run` and `sampan ps` handed to a warm process; the launcher has no interpreter to do them by itself."""

import os
import pty
import shutil
import signal
import subprocess
import termios
from pathlib import Path

import pytest

from tests.zygotes import start_zygote

from ..waiting import until

ROOT = Path(__file__).parents[2]
TOOLBOX = str(ROOT / "examples" / "05-toolbox" / "toolbox.wasm")


class Desk:
    def __init__(self, folder):
        self.run = folder / "run"
        (folder / "data").mkdir(mode=0o700)
        self.env = {
            "PATH": "/nowhere",
            "SAMPAN_ROOT": str(folder / "data"),
            "SAMPAN_RUN_ROOT": str(self.run),
        }
        (folder / "bin").mkdir()
        self.launcher = shutil.copy(ROOT / "scripts" / "sampan", folder / "bin" / "sampan")
        self.zygote = start_zygote(self.env["SAMPAN_ROOT"], self.run, self.env)

    def start(self, *words, **streams):
        return subprocess.Popen([self.launcher, *words], env=self.env, text=True, **streams)

    def __call__(self, *words, stdin=""):
        done = subprocess.run(
            [self.launcher, *words], env=self.env, input=stdin, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    until(lambda: not descendants(desk.zygote.pid))  # it removes what its children leave
    desk.zygote.kill()
    desk.zygote.wait()


def test_a_run_has_the_callers_streams_and_gives_its_exit_code(desk):
    assert desk("run", "--rm", "-i", TOOLBOX, "stdin", stdin="in and out\n") == (0, "in and out\n", "")
    assert desk("run", "--rm", TOOLBOX, "exit", "7")[0] == 7
    code, out, err = desk("run", "--rm", "--pull", "never", "nothing")
    assert code == 125 and not out and err.startswith("sampan: ") and err.count("\n") == 1


def test_containers_of_the_background_are_run_and_shown(desk):
    code, container_id, _ = desk("run", "-d", "--name", "one", TOOLBOX, "sleep", "1000")
    assert code == 0
    lines = desk("ps")[1].splitlines()
    assert len(lines) == 2 and lines[1].startswith(container_id[:12]) and lines[1].endswith("one")
    pid = next(int(p) for p in os.listdir("/proc") if p.isdigit() and parent(p) == desk.zygote.pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(desk("ps")[1].splitlines()) == 1)
    until(
        lambda: not os.path.exists(f"/proc/{pid}")
    )  # the zygote has written down its end, and removed its cgroup


def test_a_signal_ends_a_run(desk):
    process = desk.start("run", "--rm", TOOLBOX, "sleep", "1000")
    until(lambda: any("sampan-workload" in comm(p) for p in descendants(desk.zygote.pid)))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143


def test_a_terminal(desk):
    master, terminal = pty.openpty()
    process = desk.start(
        "run", "--rm", "-it", TOOLBOX, "stdin", stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    until(lambda: not termios.tcgetattr(master)[3] & termios.ECHO)
    os.write(master, b"typed\n\4")
    assert process.wait(60) == 0
    assert b"typed" in os.read(master, 4096)
    os.close(master)


def test_other_commands_are_left_to_python(desk):
    for words in (("version",), ("--help",), (), ("logs", "x"), ("-D", "run", TOOLBOX)):
        code, out, err = desk(*words)
        assert code == 127 and "python3" in err and not out


def parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def descendants(pid):
    children = [int(p) for p in os.listdir("/proc") if p.isdigit() and parent(p) == pid]
    return children + [p for child in children for p in descendants(child)]
