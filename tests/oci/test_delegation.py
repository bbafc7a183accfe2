"""Linux bundles go to runc with the same words and the same root: one runtime for all containers of a pod."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from .conftest import Runtime

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("runc"), reason="needs root and runc")
SHELL = ("/bin/sh", "-c", "echo from linux; exec sleep 100000")


def test_a_linux_container_lives_its_life_in_runc(oci: Runtime) -> None:
    container_id = oci.new_id()
    pid_file = oci.folder / "pid"
    oci.ok("create", "-b", str(oci.linux_bundle(*SHELL)), "--pid-file", str(pid_file), container_id)
    assert (oci.root / container_id / "state.json").exists()
    state = oci.state(container_id)
    assert (state["status"], state["pid"]) == ("created", int(pid_file.read_text()))
    oci.ok("start", container_id)
    oci.wait_for(container_id, "running")
    assert oci.ok("exec", container_id, "/bin/sh", "-c", "echo $0 inside") == "/bin/sh inside\n"
    assert oci("exec", container_id, "/bin/sh", "-c", "exit 9").code == 9
    oci.ok("pause", container_id)
    assert oci.state(container_id)["status"] == "paused"
    oci.ok("resume", container_id)
    assert int(pid_file.read_text()) in json.loads(oci.ok("ps", "-f", "json", container_id))
    assert json.loads(oci.ok("events", "--stats", container_id))["type"] == "stats"
    oci.ok("update", "--pids-limit", "50", container_id)
    oci.ok("kill", container_id, "KILL")
    oci.wait_for(container_id, "stopped")
    oci.ok("delete", container_id)
    assert not (oci.root / container_id).exists()


def test_run_prints_what_the_linux_program_prints(oci: Runtime) -> None:
    done = oci("run", "-b", str(oci.linux_bundle("/bin/sh", "-c", "echo hi; exit 3")), oci.new_id())
    assert (done.code, done.out) == (3, "hi\n")


def test_one_root_has_containers_of_both_kinds(oci: Runtime) -> None:
    linux, wasm = oci.new_id(), oci.running()
    oci.ok("create", "-b", str(oci.linux_bundle(*SHELL)), linux)
    documents = {document["id"]: document for document in json.loads(oci.ok("list", "-f", "json"))}
    assert {name: document["status"] for name, document in documents.items()} == {
        linux: "created",
        wasm: "running",
    }
    assert {document["owner"] for document in documents.values()} == {"root"}
    assert sorted(oci.ok("list", "-q").split()) == sorted((linux, wasm))
    assert len(oci.ok("list").splitlines()) == 3
    assert "exist" in oci("create", "-b", str(oci.bundle()), linux).err
    assert "exist" in oci("create", "-b", str(oci.linux_bundle(*SHELL)), wasm).err
    oci.ok("delete", "--force", linux)
    assert oci.state(wasm)["status"] == "running"


def test_a_flag_that_only_runc_has_is_for_runc_to_judge(oci: Runtime) -> None:
    linux, wasm = oci.new_id(), oci.running()
    oci.ok("create", "-b", str(oci.linux_bundle(*SHELL)), linux)
    assert "flag provided but not defined" in oci("state", "--of-another-version", linux).err
    assert "unknown flag" in oci.refused("state", "--of-another-version", wasm)


def test_the_default_root_is_handed_over_too(oci: Runtime, tmp_path: Path) -> None:
    said = tmp_path / "said"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{said}\n')
    program.chmod(0o755)
    oci.env["SAMPAN_LINUX_RUNTIME"] = str(program)
    bundle, container_id = str(oci.linux_bundle(*SHELL)), oci.new_id()
    oci.command = lambda *words: Runtime.command(oci)[:4] + list(words)  # type: ignore[method-assign]
    oci.ok("create", "--bundle", bundle, container_id)
    expected = ["--root", "/run/sampan-oci", "create", "--bundle", bundle, container_id]
    assert said.read_text().splitlines() == expected
    oci.ok("--systemd-cgroup", "restore", "-d", container_id)
    expected = ["--root", "/run/sampan-oci", "--systemd-cgroup", "restore", "-d", container_id]
    assert said.read_text().splitlines() == expected


def test_without_a_linux_runtime_the_need_is_named(oci: Runtime) -> None:
    oci.env["SAMPAN_LINUX_RUNTIME"] = "/no/such/runtime"
    assert "/no/such/runtime" in oci.refused("create", "-b", str(oci.linux_bundle(*SHELL)), oci.new_id())
    assert oci.ok("list", "-q") == ""
    (oci.root / "foreign").mkdir(parents=True)
    assert "/no/such/runtime" in oci.refused("list")
    (oci.root / "foreign").rmdir()
