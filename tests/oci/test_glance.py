"""`state`, `kill` and `delete` done by the launcher itself: as Python does them, or not at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Done, Runtime

ROOT = Path(__file__).parents[2]


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    """An installation without an interpreter, and none to be found: what it prints is the launcher's own."""
    (tmp_path / "bin").mkdir()
    return Path(shutil.copy(ROOT / "scripts" / "sampan", tmp_path / "bin" / "sampan-oci"))


def ask(launcher: Path, oci: Runtime, *words: str) -> Done:
    command = [launcher, "--root", oci.root, "--log", oci.log, "--log-format", "json", *words]
    done = subprocess.run(command, env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


def left_to_python(done: Done) -> bool:
    return done.code == 127 and "python3" in done.err and not done.out


def test_the_state_is_what_python_says(launcher: Path, oci: Runtime) -> None:
    container_id = oci.created()
    assert ask(launcher, oci, "state", container_id).out == oci.ok("state", container_id)
    oci.ok("start", container_id)
    own = ask(launcher, oci, "state", container_id)
    assert '"status": "running"' in own.out
    assert own.out == oci.ok("state", container_id)


def test_a_signal_arrives(launcher: Path, oci: Runtime) -> None:
    container_id = oci.running()
    done = ask(launcher, oci, "--systemd-cgroup", "kill", container_id, "SIGKILL")
    assert (done.code, done.out, done.err) == (0, "", "")
    oci.wait_for(container_id, "stopped")
    assert left_to_python(ask(launcher, oci, "state", container_id))
    assert left_to_python(ask(launcher, oci, "kill", container_id, "9"))


def test_whatever_is_unusual_is_left_to_python(launcher: Path, oci: Runtime) -> None:
    container_id = oci.running()
    for words in (
        ("state",),
        ("state", "--help"),
        ("state", "../x"),
        ("state", f"../{oci.root.name}/{container_id}"),
        ("state", "nobody"),
        ("state", container_id, "more"),
        ("kill", container_id, "0"),
        ("kill", container_id, "65"),
        ("kill", container_id, ""),
        ("kill", container_id, "NONE"),
        ("kill", "--all", container_id),
        ("--debug", "state", container_id),
        ("--log-format", "xml", "state", container_id),
        ("delete", container_id),
        ("delete", "--force", container_id),
        ("delete", "--force", "--", container_id),
    ):
        assert left_to_python(ask(launcher, oci, *words)), words
    assert '"running"' in ask(launcher, oci, "state", container_id).out


@pytest.mark.parametrize("line", [0, 1, 2])
def test_another_process_boot_or_cgroup_is_not_believed(launcher: Path, oci: Runtime, line: int) -> None:
    container_id = oci.running()
    file = oci.root / container_id / "glance"
    lines = file.read_text().splitlines()
    lines[line] += "0"
    file.write_text("\n".join(lines))
    assert left_to_python(ask(launcher, oci, "state", container_id))
    assert left_to_python(ask(launcher, oci, "kill", container_id, "KILL"))


@pytest.mark.parametrize("words", [("delete",), ("delete", "--force")])
def test_what_has_ended_is_deleted(launcher: Path, oci: Runtime, words: tuple[str, ...]) -> None:
    container_id = oci.stopped()
    groups = (oci.root / container_id / "glance").read_text().splitlines()[3].split()
    assert groups and all(Path(group).is_dir() for group in groups)
    done = ask(launcher, oci, *words, container_id)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert list(oci.root.iterdir()) == []
    assert not any(Path(group).exists() for group in groups)


def test_a_cgroup_in_use_and_hooks_are_left_to_python(launcher: Path, oci: Runtime) -> None:
    container_id = oci.stopped()
    group = (oci.root / container_id / "glance").read_text().splitlines()[3].split()[0]
    Path(group, "inner").mkdir()
    assert left_to_python(ask(launcher, oci, "delete", container_id))
    assert oci.state(container_id)["status"] == "stopped"
    oci.ok("delete", container_id)
    assert not Path(group).exists()

    def add_hook(document: dict[str, Any]) -> None:
        document["hooks"] = {"poststop": [{"path": "/bin/true"}]}

    container_id = oci.created("/app.wasm", "echo", change=add_hook)
    oci.ok("start", container_id)
    oci.wait_for(container_id, "stopped")
    assert left_to_python(ask(launcher, oci, "delete", container_id))


def test_a_paused_container_is_left_to_python(launcher: Path, oci: Runtime) -> None:
    container_id = oci.running()
    oci.ok("pause", container_id)
    assert left_to_python(ask(launcher, oci, "state", container_id))
    oci.ok("resume", container_id)
    assert '"running"' in ask(launcher, oci, "state", container_id).out
