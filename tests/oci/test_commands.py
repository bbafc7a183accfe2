"""The commands beside a life (`list ps events update exec spec features checkpoint`), in the shapes callers parse."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sampan.core.errors import Invalid
from sampan.core.record import Record
from sampan.core.spec.runtime import Spec
from sampan.doors.oci.commands.list import table
from sampan.doors.oci.commands.ps import lines_of
from sampan.doors.oci.template import default_document

from .conftest import Runtime

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the default bundle does")


# -- list


def test_an_empty_list_is_as_runc_prints_it(oci: Runtime) -> None:
    assert oci.ok("list") == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    assert (oci.ok("list", "-f", "json"), oci.ok("list", "-q")) == ("null\n", "")


def test_columns_are_as_wide_as_their_longest_value() -> None:
    shown = table(
        [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], ["x" * 20, "1", "s", "b", "c", "root"]]
    )
    title, row = shown.split("\n")
    assert title.startswith("ID" + " " * 21 + "PID") and row.startswith("x" * 20 + "   1 ")
    assert title.index("OWNER") == row.index("root")


@as_root
def test_the_list_has_the_state_of_each_container(oci: Runtime) -> None:
    running, created = oci.running(), oci.created()
    documents = {document["id"]: document for document in json.loads(oci.ok("list", "--format", "json"))}
    assert documents == {name: oci.state(name) | {"owner": "root"} for name in (running, created)}
    assert sorted(oci.ok("list", "-q").split()) == sorted((running, created))
    rows = [line.split() for line in oci.ok("list").splitlines()[1:]]
    assert {(row[0], row[2], row[5]) for row in rows} == {
        (running, "running", "root"),
        (created, "created", "root"),
    }


# -- ps


def test_lines_of_ps_are_those_of_the_pids() -> None:
    output = "  PID CMD\n    1 init\n   12 a 13\n  13 b\n\n"
    assert lines_of(output, [12]) == ["  PID CMD", "   12 a 13"]
    assert lines_of(output, []) == ["  PID CMD"]
    with pytest.raises(Invalid, match="no PID"):
        lines_of("CMD\ninit\n", [1])


@as_root
def test_ps_shows_the_containers_processes(oci: Runtime) -> None:
    container_id = oci.running()
    pid = oci.state(container_id)["pid"]
    assert json.loads(oci.ok("ps", "--format", "json", container_id)) == [pid]
    title, line = oci.ok("ps", container_id).splitlines()
    assert title.split()[:3] == ["UID", "PID", "PPID"] and line.split()[1] == str(pid)
    assert oci.ok("ps", container_id, "-o", "pid").split() == ["PID", str(pid)]
    assert "no PID" in oci.refused("ps", container_id, "-o", "comm")
    assert "failed" in oci.refused("ps", container_id, "--no-such-option")
    assert oci.ok("ps", "-f", "json", oci.stopped()) == "null\n"


# -- events and update


@as_root
def test_stats_are_one_line_of_runcs_shape(oci: Runtime) -> None:
    container_id = oci.running()
    (line,) = oci.ok("events", "--stats", container_id).splitlines()
    event = json.loads(line)
    assert (event["type"], event["id"]) == ("stats", container_id)
    assert event["data"]["cpu"]["usage"]["total"] > 0
    assert event["data"]["pids"]["current"] >= 1
    assert event["data"]["memory"]["usage"]["usage"] > 0
    assert "is not running" in oci.refused("events", "--stats", oci.stopped())


@as_root
def test_events_come_until_the_container_stops(oci: Runtime) -> None:
    container_id = oci.running("/app.wasm", "sleep", "1")
    lines = oci.ok("events", "--interval", "50ms", container_id).splitlines()
    assert len(lines) > 2
    assert {json.loads(line)["type"] for line in lines} == {"stats"}


@as_root
def test_memory_that_ran_out_is_an_event(oci: Runtime) -> None:
    def limit(document: dict[str, Any]) -> None:
        document["linux"]["resources"]["memory"] = {"limit": 64 << 20}

    container_id = oci.created("/app.wasm", "grow", change=limit)
    wait = oci.start("events", container_id)
    oci.ok("start", container_id)
    done = wait()
    assert done.code == 0
    assert [json.loads(line) for line in done.out.splitlines()] in ([], [{"type": "oom", "id": container_id}])


@as_root
def test_update_changes_what_is_named_and_nothing_else(oci: Runtime) -> None:
    container_id = oci.running()

    def limits() -> tuple[int, int]:
        data = json.loads(oci.ok("events", "--stats", container_id))["data"]
        return data["memory"]["usage"]["limit"], data["pids"].get("limit", 0)

    oci.ok("update", "--memory", "256m", "--memory-swap", "256m", "--pids-limit", "50", container_id)
    assert limits() == (256 << 20, 50)
    oci.ok("update", "-r", "-", container_id, stdin=b'{"pids": {"limit": 60}}')
    assert limits() == (256 << 20, 60)
    document = oci.folder / "resources.json"
    document.write_text(json.dumps({"memory": {"limit": 300 << 20, "swap": 300 << 20}}))
    oci.ok("update", "--resources", str(document), container_id)
    assert limits() == (300 << 20, 60)


@as_root
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing is named"),
        (("--memory", "much"), "is not a size"),
        (("--pids-limit", "few"), "is not a number"),
        (("--cpu-share", "9" * 30), "is not a number"),
        (("-r", "/no/such/file"), "No such file"),
        (("-r", "/"), "Is a directory"),
        (("-r", "/dev/zero"), "more than"),
        (("-r", "-"), "is not JSON"),
        (("--l3-cache-schema", "x"), "Intel RDT"),
    ],
)
def test_an_update_that_makes_no_sense_is_refused(
    oci: Runtime, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in oci.refused("update", *words, oci.running())


# -- exec


@as_root
def test_exec_runs_a_module_in_the_containers_world(oci: Runtime) -> None:
    container_id = oci.running()
    assert oci.ok("exec", container_id, "/app.wasm", "echo", "-detach", "--help") == "-detach --help\n"
    assert oci("exec", container_id, "/app.wasm", "exit", "7").code == 7
    assert oci.ok("exec", container_id, "/app.wasm", "stdin", stdin=b"through") == "through"
    env = oci.ok(
        "exec", "-e", "LEVEL=2", "--env", "TERM=other", container_id, "/app.wasm", "env"
    ).splitlines()
    assert "LEVEL=2" in env and "TERM=other" in env and "TERM=xterm" not in env
    assert "executable file not found" in oci.refused("exec", container_id, "/nope", code=255)


@as_root
def test_exec_takes_a_process_document(oci: Runtime) -> None:
    container_id = oci.running()
    document = oci.folder / "process.json"
    process = {"args": ["/app.wasm", "env"], "env": ["ONLY=this"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    document.write_text(json.dumps(process))
    assert oci.ok("exec", "--process", str(document), container_id) == "ONLY=this\nHOME=/\n"
    document.write_text(json.dumps(process | {"args": []}))
    assert "args" in oci.refused("exec", "-p", str(document), container_id, code=255)
    document.write_text("[]")
    assert "expected an object" in oci.refused("exec", "-p", str(document), container_id, code=255)


@as_root
def test_a_detached_exec_leaves_its_pid(oci: Runtime) -> None:
    container_id = oci.running()
    pid_file = oci.folder / "exec.pid"
    oci.ok("exec", "-d", "--pid-file", str(pid_file), container_id, "/app.wasm", "sleep", "100000")
    pids = json.loads(oci.ok("ps", "-f", "json", container_id))
    assert sorted(pids) == sorted([oci.state(container_id)["pid"], int(pid_file.read_text())])
    oci.ok("kill", container_id, "KILL")
    oci.wait_for(container_id, "stopped")


@as_root
def test_exec_needs_a_container_that_is_not_over(oci: Runtime) -> None:
    assert "stopped" in oci.refused("exec", oci.stopped(), "/app.wasm", "echo", code=255)
    running = oci.running()
    assert "needs the module" in oci.refused("exec", running, code=255)
    assert "not the number of a user" in oci.refused("exec", "-u", "root", running, "/app.wasm", code=255)


@as_root
def test_a_paused_container_stands_still(oci: Runtime) -> None:
    container_id = oci.running()
    oci.ok("pause", container_id)
    assert oci.state(container_id)["status"] == "paused"
    assert "paused" in oci.refused("exec", container_id, "/app.wasm", "echo", code=255)
    oci.ok("resume", container_id)
    assert oci.state(container_id)["status"] == "running"
    assert oci.ok("exec", container_id, "/app.wasm", "echo", "on") == "on\n"


# -- spec and features


def test_spec_writes_a_document_once(oci: Runtime, tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    bundle.mkdir()
    oci.ok("spec", "--bundle", str(bundle))
    document = json.loads((bundle / "config.json").read_text())
    assert document == default_document(rootless=False)
    assert "exists" in oci.refused("spec", "-b", str(bundle))
    assert "No such file" in oci.refused("spec", "-b", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("rootless", [False, True])
def test_the_default_document_has_what_the_specification_requires(rootless: bool) -> None:
    document = default_document(rootless=rootless)
    assert document["process"].keys() >= {"args", "cwd", "user", "terminal"}
    assert _unknown(Spec.from_json(document)) == []
    kinds = {namespace["type"] for namespace in document["linux"]["namespaces"]}
    assert ("user" in kinds, "network" in kinds) == (rootless, not rootless)


def _unknown(record: Record) -> list[str]:
    found = list(record.unknown)
    for name in record._names:
        value = getattr(record, name)
        for inner in value if isinstance(value, list) else [value]:
            found += _unknown(inner) if isinstance(inner, Record) else []
    return found


@as_root
def test_the_default_document_runs(oci: Runtime, tmp_path: Path) -> None:
    bundle = oci.bundle()
    (bundle / "config.json").unlink()
    oci.ok("spec", "-b", str(bundle))
    done = oci("run", "-b", str(bundle), oci.new_id())
    assert done.code == 2 and "try help" in done.err


def test_features_say_wasm(oci: Runtime) -> None:
    document = json.loads(oci.ok("features"))
    assert (document["ociVersionMin"], document["ociVersionMax"]) == ("1.0.0", "1.2.0")
    assert document["annotations"]["run.oci.crun.wasm"] == "true"
    assert document["annotations"]["org.sampan.engine"].startswith("wasmtime ")
    assert "module.wasm.image/variant" in document["potentiallyUnsafeConfigAnnotations"]
    linux = document["linux"]
    assert {"mount", "pid", "user", "network"} <= set(linux["namespaces"])
    assert "CAP_NET_BIND_SERVICE" in linux["capabilities"]
    assert {"bind", "ro", "rro", "rshared", "nosuid"} <= set(document["mountOptions"])


@pytest.mark.skipif(not os.path.exists("/usr/sbin/runc"), reason="needs runc")
def test_features_have_the_shape_of_runcs(oci: Runtime) -> None:
    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items() if key != "annotations"}
        return type(value)

    theirs = json.loads(subprocess.run(["runc", "features"], capture_output=True, check=True).stdout)
    ours = json.loads(oci.ok("features"))

    def covers(mine: Any, other: Any) -> bool:
        if isinstance(other, dict):
            return all(key in mine and covers(mine[key], inner) for key, inner in other.items())
        return bool(mine == other)

    assert covers(shape(ours), shape(theirs))


# -- checkpoint


@as_root
def test_a_wasm_container_cannot_be_saved(oci: Runtime) -> None:
    container_id = oci.running()
    sentence = oci.refused("checkpoint", "--image-path", "/x", "--leave-running", container_id)
    assert "cannot be saved and restored" in sentence
    assert "cannot be saved" in oci.refused(
        "restore", "-d", "--bundle", "/x", "--pid-file", "/x", container_id
    )
    assert oci.state(container_id)["status"] == "running"
