"""Options of a Create, and the words of the program."""

from __future__ import annotations

import pytest

from sampan.core.errors import Invalid
from sampan.doors.shim.main import UsageError, parse, runtime_of
from sampan.doors.shim.messages import Any, RuncOptions, RuntimeOptions
from sampan.doors.shim.options import CRI, RUNC, Options, read_options


def test_runc_options_and_cris_mean_the_same() -> None:
    runc = RuncOptions(systemd_cgroup=True, binary_name="/usr/bin/crun", shim_cgroup="/x").encode()
    toml = RuntimeOptions("", "", b'SystemdCgroup = true\nBinaryName = "/usr/bin/crun"\n').encode()
    wanted = Options(True, "/usr/bin/crun")
    assert read_options(Any(RUNC, runc)) == wanted
    assert read_options(Any(f"types.containerd.io/{RUNC}", runc)) == wanted
    assert read_options(Any(CRI, toml)) == wanted


@pytest.mark.parametrize(
    "given", [None, Any(), Any("some.other.Options", b"\xff"), Any(CRI, b""), Any(RUNC, b"")]
)
def test_no_options_and_unknown_ones_are_passed_over(given: Any | None) -> None:
    assert read_options(given) == Options()


def test_a_name_without_a_path_is_no_program_to_run_as_root() -> None:
    assert read_options(Any(RUNC, RuncOptions(binary_name="crun").encode())).binary_name == ""


@pytest.mark.parametrize(
    "given",
    [
        Any(RUNC, b"\xff"),
        Any(CRI, RuntimeOptions(config_body=b"= 3").encode()),
        Any(CRI, RuntimeOptions(config_body=b"\xff").encode()),
        Any(CRI, RuntimeOptions(config_body=b"SystemdCgroup = 3").encode()),
    ],
)
def test_options_that_are_not_what_they_say(given: Any) -> None:
    with pytest.raises(Invalid):
        read_options(given)


def test_words_are_read_as_go_reads_them() -> None:
    assert parse(["-namespace", "a", "--id=b", "-debug", "start"]) == (
        {"namespace": "a", "id": "b", "debug": ""},
        ["start"],
    )
    assert parse(["-v"]) == ({"v": ""}, [])
    for words in (["-id"], ["-unknown", "x"]):
        with pytest.raises(UsageError):
            parse(words)


@pytest.mark.parametrize(
    ("program", "runtime"),
    [
        ("/bin/containerd-shim-sampan-v1", "sampan"),
        ("containerd-shim-wasmedge-v1", "wasmedge"),
        ("/x/containerd-shim-my-engine-v2", "my-engine"),
        ("/x/else", "sampan"),
    ],
)
def test_the_programs_name_is_the_runtimes(program: str, runtime: str) -> None:
    assert runtime_of(program) == runtime
