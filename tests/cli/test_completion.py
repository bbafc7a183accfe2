from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sampan.doors.cli import listing

from .conftest import Sampan


def answers(sampan: Sampan, *words: str) -> list[str]:
    return [line.partition("\t")[0] for line in sampan.ok("__complete", *words).splitlines()]


def test_commands(sampan: Sampan) -> None:
    assert answers(sampan, "vers") == ["version"]
    assert set(answers(sampan, "")) == {n for n in listing.SUMMARIES if " " not in n} | set(
        listing.MANAGEMENT
    )
    assert "ls" in answers(sampan, "image", "")
    assert sampan.ok("__complete", "versi") == f"version\t{listing.SUMMARIES['version']}\n"


def test_flags_and_their_values(sampan: Sampan) -> None:
    assert answers(sampan, "version", "--fo") == ["--format"]
    assert answers(sampan, "completion", "") == ["bash", "zsh", "fish"]
    assert answers(sampan, "completion", "z") == ["zsh"]


def test_nonsense_gets_no_answer_and_no_error(sampan: Sampan) -> None:
    for words in (["nonsense", ""], ["version", "--format", ""], ["image", "nonsense", ""], []):
        done = sampan("__complete", *words)
        assert (done.returncode, done.stderr) == (0, "")


def test_each_shell_has_a_script(sampan: Sampan) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "__complete" in sampan.ok("completion", shell)
    done = sampan("completion", "tcsh")
    assert done.returncode == 1
    assert (
        done.stderr == "sampan: no completion for 'tcsh'; there is one for bash, zsh and fish (NOT_FOUND)\n"
    )


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("sampan versi", ["version"]),
        ("sampan completion ", ["bash", "zsh", "fish"]),
        ("sampan version --format=", []),
    ],
)
def test_bash_completes(sampan: Sampan, line: str, replies: list[str]) -> None:
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    launcher = sampan.folder / "sampan"
    launcher.write_text("#!/bin/sh\nexec " + " ".join(sampan.command()) + ' "$@"\n')
    launcher.chmod(0o755)
    script = (
        f'PATH="{sampan.folder}:$PATH"; source <(sampan completion bash)\n'
        f'COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; _sampan; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=sampan.env, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.split() == replies
    assert Path(launcher).exists()
