"""`sampan ps`: real containers in Docker's columns, what filters and formats show, and what it may import; row C23."""

from __future__ import annotations

import json
import re

import pytest

from .conftest import TOOLBOX, Harbour, Sampan, until
from .test_imports import ALWAYS, imported

QUICK = {
    *("_json", "errno", "fcntl", "time"),
    *("sampan.container", "sampan.container.names", "sampan.container.records", "sampan.container.store"),
    *("sampan.core.spec", "sampan.core.spec.runtime", "sampan.core.strictjson", "sampan.core.units"),
    *("sampan.doors.cli.commands", "sampan.doors.cli.commands.ps"),
    *("sampan.doors.cli.containerrows", "sampan.doors.cli.output"),
    *("sampan.engine", "sampan.engine.grants"),
    *("sampan.linux", "sampan.linux.durable", "sampan.linux.files", "sampan.linux.locks"),
    "sampan.linux.numbers",
    *("sampan.linux.processes", "sampan.linux.syscalls"),
}
WITH_ROWS = {"sampan.core.digest", "sampan.core.reference", "sampan.doors.cli.imagerows"}


def names(harbour: Harbour, *words: str) -> list[str]:
    return harbour.ok("ps", "--format", "{{.Names}}", *words).split()


def test_what_ps_imports(sampan: Sampan) -> None:
    assert imported(sampan, "ps") - ALWAYS <= QUICK


def test_what_ps_imports_for_containers(harbour: Harbour) -> None:
    harbour.start_file("one", "sleep", "100")
    assert imported(harbour, "ps", "-a") - ALWAYS <= QUICK | WITH_ROWS


def test_ps_without_containers(sampan: Sampan) -> None:
    assert sampan.ok("ps") == "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    assert sampan.ok("container", "ls", "-aq") == ""


def test_ps_as_a_table(harbour: Harbour) -> None:
    up = harbour.start("up", "sleep", "100")
    harbour("run", "--name", "down", harbour.image(), "exit", "3")
    harbour.ok("create", "--name", "fresh", harbour.image())
    head, *rows = harbour.ok("ps", "-a").splitlines()
    assert re.split(r"\s{3,}", head) == [
        *("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"),
    ]
    cells = [re.split(r"\s{3,}", row) for row in rows]
    assert [c[-1] for c in cells] == ["fresh", "down", "up"]
    assert [c[0] for c in cells][-1] == up[:12]
    assert cells[2][1:3] == ["toolbox:latest", '"/toolbox.wasm sleep…"']
    assert re.fullmatch(r"(Less than a|\d+) seconds? ago", cells[2][3])
    assert cells[0][4] == "Created"
    assert re.fullmatch(r"Exited \(3\) (Less than a|\d+) seconds? ago", cells[1][4])
    assert re.fullmatch(r"Up (Less than a|\d+) seconds?", cells[2][4])
    assert [line.split()[-1] for line in harbour.ok("ps").splitlines()] == ["NAMES", "up"]
    assert harbour.ok("ps", "-q", "--no-trunc") == up + "\n"
    assert names(harbour, "-l") == ["fresh"]
    assert names(harbour, "-n", "2") == ["fresh", "down"]
    assert names(harbour, "-n", "-1") == ["up"]


def test_ps_filters(harbour: Harbour) -> None:
    one = harbour.start("one", "sleep", "100", flags=("-l", "k=1", "-v", "store:/store"))
    harbour.start("two", "exit", "3", flags=("-l", "k=2", "-l", "only"))
    harbour.ok("wait", "two")
    harbour.start_file("three", "sleep", "100")
    for wanted, found in {
        "status=running": ["three", "one"],
        "status=exited": ["two"],
        "exited=3": ["two"],
        "exited=0": [],
        "name=^t": ["three", "two"],
        "name=n": ["one"],
        f"id={one[:5]}": ["one"],
        "label=k": ["two", "one"],
        "label=k=1": ["one"],
        "ancestor=toolbox": ["two", "one"],
        "ancestor=toolbox:latest": ["two", "one"],
        "ancestor=toolbox.wasm": ["three"],
        "volume=store": ["one"],
        "volume=/store": ["one"],
        "before=two": ["one"],
        "since=two": ["three"],
    }.items():
        assert names(harbour, "-a", "-f", wanted) == found, wanted
    assert names(harbour, "-f", "exited=3") == ["two"]
    assert names(harbour, "-a", "-f", "label=k", "-f", "name=two") == ["two"]
    image = harbour.ok("images", "-q", "--no-trunc").strip()
    assert names(harbour, "-a", "-f", f"ancestor={image}") == ["two", "one"]
    assert names(harbour, "-a", "-f", f"ancestor={image[7:19]}") == ["two", "one"]


@pytest.mark.parametrize(
    "wanted", ["status=odd", "exited=x", "name=(", "colour=red", "status", "since=absent"]
)
def test_ps_refuses_filters_that_make_no_sense(sampan: Sampan, wanted: str) -> None:
    done = sampan("ps", "-f", wanted)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sampan: ")


def test_ps_formats(harbour: Harbour) -> None:
    harbour.start("one", "sleep", "100", flags=("-l", "a=b"))
    row = json.loads(harbour.ok("ps", "--format", "json"))
    assert (row["Names"], row["State"], row["Image"], row["Labels"]) == (
        "one",
        "running",
        "toolbox:latest",
        "a=b",
    )
    assert row["Command"] == '"/toolbox.wasm sleep…"'
    assert harbour.ok("ps", "--format", "{{.Names}} is {{.State}}") == "one is running\n"
    assert harbour.ok("ps", "--format", "table {{.Names}}\t{{.State}}").split() == [
        *("NAMES", "STATE", "one", "running"),
    ]
    full = json.loads(harbour.ok("ps", "--no-trunc", "--format", "json"))
    assert full["Command"] == '"/toolbox.wasm sleep 100"'
    assert len(full["ID"]) == 64
    sized = harbour.ok("ps", "-s").splitlines()
    assert sized[0].endswith("SIZE")
    assert re.search(r"\S+B \(virtual \S+kB\)$", sized[1])


def test_ps_shows_a_restarting_container_as_such(harbour: Harbour) -> None:
    harbour.start_file("again", "exit", "3", flags=("--restart", "always"))
    until(lambda: "Restarting (3)" in harbour.ok("ps", "--format", "{{.Status}}"))
    harbour.ok("stop", "again")
    assert harbour.ok("ps", "-a", "--format", "{{.State}}") == "exited\n"


@pytest.mark.parametrize("content", [b"", b"{", b"\0\xff", b"[]", b'{"id":1}', b'{"a":1,"a":2}'])
def test_C23_a_broken_container_is_a_warning_and_hides_no_other(harbour: Harbour, content: bytes) -> None:
    whole = harbour.start_file("whole", "sleep", "100")
    broken = harbour.start_file("broken", "sleep", "100")
    (harbour.folder_of(broken) / "container.json").write_bytes(content)
    done = harbour("ps", "-q", "--no-trunc")
    assert (done.returncode, done.stdout) == (0, whole + "\n")
    assert f"warning: container {broken[:12]} is broken" in done.stderr
    assert f"sampan rm -f {broken}" in done.stderr


def test_C23_a_folder_without_a_document_is_not_passed_over(harbour: Harbour) -> None:
    broken = harbour.ok("create", "--name", "broken", str(TOOLBOX)).strip()
    (harbour.folder_of(broken) / "container.json").unlink()
    assert "is broken" in harbour("ps").stderr


def test_C23_a_state_that_cannot_be_read_is_called_unknown(harbour: Harbour) -> None:
    broken = harbour.start_file("broken", "sleep", "100")
    (harbour.folder_of(broken) / "running.json").write_bytes(b"{")
    done = harbour("ps", "--format", "{{.Names}} {{.Status}}")
    assert (done.returncode, done.stdout) == (0, "broken Unknown\n")
    assert "running.json cannot be read" in done.stderr


def test_C23_a_pid_that_is_another_process_now_is_not_taken_for_the_container(harbour: Harbour) -> None:
    entry = harbour.folder_of(harbour.start_file("old", "exit", "0"))
    harbour.ok("wait", "old")
    running = json.loads((entry / "running.json").read_text())
    (entry / "running.json").write_text(json.dumps(running | {"pid": 1}))
    assert names(harbour) == []
    assert names(harbour, "-f", "exited=0") == ["old"]
