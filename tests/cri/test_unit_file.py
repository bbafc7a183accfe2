"""The unit that the package brings: it starts `sampan cri` with options that there are, and ends no container."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from sampan.core.commandline import parse
from sampan.doors.cli.commands import cri
from sampan.doors.cri.main import HANDLERS, settings_of

UNIT = Path(__file__).parents[2] / "packaging" / "sampan-cri.service"


@pytest.fixture
def service() -> dict[str, str]:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


def test_its_command_line_is_one_of_ours(service: dict[str, str]) -> None:
    program, command, *words = shlex.split(service["ExecStart"].replace("$SAMPAN_CRI_OPTIONS", ""))
    assert (program, command) == ("sampan", "cri")
    settings = settings_of(parse(words, cri.OPTIONS))
    assert settings.listen == "unix:///run/sampan/cri.sock"
    assert settings.upstream == "unix:///run/containerd/containerd.sock"
    assert settings.handlers == HANDLERS


def test_its_end_is_not_that_of_the_containers(service: dict[str, str]) -> None:
    assert service["KillMode"] == "process"
    assert (service["Type"], service["Restart"]) == ("notify", "always")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("ExecStart=sampan ", "ExecStart=/bin/true "))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and UNIT.name not in done.stderr, done.stderr
