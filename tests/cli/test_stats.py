"""`sampan stats` and `sampan top`: what containers use, and their processes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from .conftest import Harbour, Terminal

NAME = "boat"
TOOL = "/toolbox.wasm"


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line)


def test_stats_once_as_a_table(harbour: Harbour) -> None:
    container_id = harbour.start(NAME, "loop", flags=("-m", "64m"))
    harbour.start("idle", "sleep", "100")
    head, *rows = harbour.ok("stats", "--no-stream").splitlines()
    titles = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    assert cells(head) == titles
    by_name = {cells(row)[1]: cells(row) for row in rows}
    busy, idle = by_name[NAME], by_name["idle"]
    assert busy[0] == container_id[:12]
    assert float(busy[2][:-1]) > float(idle[2][:-1])
    assert busy[3].endswith("/ 64MiB")
    assert busy[5:7] == ["--", "--"]
    assert int(busy[7]) >= 2, "the supervisor's thread and the workload's"


def test_stats_by_name_and_format(harbour: Harbour) -> None:
    container_id = harbour.start(NAME, "sleep", "100")
    harbour.ok("create", "--name", "stopped", harbour.image())
    row = json.loads(harbour.ok("stats", "--no-stream", "--format", "json", NAME))
    assert (row["Container"], row["Name"], row["ID"]) == (NAME, NAME, container_id[:12])
    style = "{{.Name}} {{.PIDs}} {{.CPUPerc}} {{.MemUsage}}"
    assert harbour.ok("stats", "--no-stream", "--format", style, "stopped") == "stopped 0 0.00% 0B / 0B\n"
    shown = harbour.ok("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}")
    assert shown == f"{container_id}\n"
    assert len(harbour.ok("stats", "-a", "--no-stream", "--format", "{{.ID}}").splitlines()) == 2
    done = harbour("stats", "--no-stream", "absent")
    assert (done.returncode, "no such container" in done.stderr) == (1, True)


def test_stats_go_on_until_all_are_removed(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100")
    running = harbour.spawn("stats", "--format", "{{.Name}}", NAME)
    assert running.stdout is not None
    assert [running.stdout.readline() for _ in range(2)] == [b"boat\n"] * 2
    harbour.ok("rm", "-f", NAME)
    running.communicate(timeout=20)
    assert running.returncode == 0


def test_stats_redraw_a_terminal_until_control_c(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100")
    terminal = Terminal(harbour, "stats")
    terminal.until(b"\033[H\033[JCONTAINER ID")
    terminal.until(b"boat")
    terminal.type(b"\3")
    assert terminal.end() == 130


def test_top_shows_the_workload_and_what_exec_started(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100", flags=("-t",))
    pid = int(harbour.ok("inspect", "-f", "{{.State.Pid}}", NAME))
    head, own = harbour.ok("top", NAME).splitlines()
    assert head.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    fields = own.split(None, 7)
    assert (int(fields[1]), fields[7]) == (pid, f"{TOOL} sleep 100")
    assert fields[5].startswith("pts/")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", fields[6])
    if os.geteuid() != 0:  # a plain user has no cgroup that would know the others
        return
    harbour.ok("exec", "-d", "-e", "exec=exec", NAME, "toolbox.wasm", "sleep", "50")
    lines = harbour.ok("top", NAME, "-ef").splitlines()[1:]
    assert [line.split(None, 7)[7] for line in lines] == [f"{TOOL} sleep 100", "toolbox.wasm sleep 50"]


def test_top_shows_the_user(harbour: Harbour) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    harbour.start(NAME, "sleep", "100", flags=("-u", "54321"))
    assert harbour.ok("top", NAME, "-o", "uid").splitlines()[1] == "54321"


def test_top_with_columns_of_ones_own(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100")
    head, row = harbour.ok("top", NAME, "-o", "pid,nlwp,rss,args").splitlines()
    assert head.split() == ["PID", "NLWP", "RSS", "COMMAND"]
    pid, threads, memory, command = row.split(None, 3)
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"Threads:\t{threads}\n" in status
    assert int(memory) > 1000
    assert command == f"{TOOL} sleep 100"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent"], "no such container"),
        (["stopped"], "is not running"),
        (["stopped", "aux"], "'aux' cannot be had"),
        (["stopped", "-o", "pid,colour"], "'colour' is not a column"),
    ],
)
def test_top_says_why_not(harbour: Harbour, words: list[str], said: str) -> None:
    harbour.ok("create", "--name", "stopped", harbour.image())
    done = harbour("top", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
