"""The command line as runc's callers write it: global options, one dash or two, exit codes, and the log they parse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan import __version__
from sampan.core.commandline import Command, switch
from sampan.doors.oci import listing
from sampan.doors.oci.context import Context
from sampan.doors.oci.main import main

from .conftest import Runtime


def test_the_version_has_runcs_shape(oci: Runtime) -> None:
    expected = f"sampan-oci version {__version__}\nspec: 1.2.0\n"
    for flag in ("--version", "-v", "-version"):
        assert oci.ok(flag) == expected


def test_every_command_is_there_and_has_its_own_help(oci: Runtime) -> None:
    overview = oci.ok("--help")
    for name, summary in listing.COMMANDS.items():
        command = listing.load(name)
        assert (command.name, command.summary, command.program) == (name, summary, "sampan-oci")
        assert f"  {name} " in overview
    assert oci.ok("create", "--help") == oci.ok("create", "-help")
    assert "--console-socket PATH" in oci.ok("create", "-h")
    assert oci.ok("help") == oci.ok() == overview


@pytest.mark.parametrize("name", sorted(listing.COMMANDS))
def test_the_help_of_each_command_names_its_flags(oci: Runtime, name: str) -> None:
    text = oci.ok(name, "--help")
    assert text.startswith(f"Usage: sampan-oci {name} ")
    assert all(f"--{option.name}" in text for option in listing.load(name).options)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("creat",), "did you mean create?"),
        (("/create",), "is not a command"),
        (("list", "--bogus"), "unknown flag: --bogus"),
        (("list", "-x"), "unknown shorthand flag"),
        (("list", "--format"), "flag needs an argument"),
        (("list", "--format", "yaml"), "neither table nor json"),
        (("list", "extra"), "needs no arguments"),
        (("state",), "needs exactly 1 argument"),
        (("state", "a", "b"), "needs exactly 1 argument"),
        (("--bogus", "list"), "unknown flag: --bogus"),
        (("--log-format", "xml", "list"), "neither text nor json"),
        (("--rootless", "maybe", "list"), "true, false or auto"),
        (("delete", "--force=maybe", "x"), "neither true nor false"),
        (("create", "--preserve-fds", "-1", "x"), "not a number of descriptors"),
        (("events", "--interval", "0", "x"), "greater than 0"),
        (("events", "--interval", "soon", "x"), "is not a duration"),
    ],
)
def test_what_makes_no_sense_is_refused_with_one_sentence(
    oci: Runtime, words: tuple[str, ...], sentence: str
) -> None:
    if words[0] == "create":
        words = (*words[:1], "-b", str(oci.bundle()), *words[1:])
    assert sentence in oci.refused(*words)


def test_flags_may_have_one_dash_as_gos_do(oci: Runtime) -> None:
    assert json.loads(oci.ok("-root", str(oci.root), "list", "-format", "json")) is None
    assert json.loads(oci.ok("-root=" + str(oci.root), "list", "-format=json")) is None


def test_words_of_a_workload_stay_as_they_are() -> None:
    seen = []

    def run(_context: Context, arguments: object) -> int:
        seen.append(arguments)
        return 0

    command = Command("x", "", "", run, [switch("force", "", "f")], interspersed=False)
    given_words = command.parse(["-force", "id", "-force", "--help", "-f"], one_dash=True)
    assert given_words.on("force") and given_words.operands == ["id", "-force", "--help", "-f"]


def test_errors_are_logged_as_callers_read_them(oci: Runtime, tmp_path: Path) -> None:
    oci.refused("state", "nobody")
    oci.refused("kill", "nobody")
    lines = oci.logged()
    assert [line["level"] for line in lines] == ["error", "error"]
    assert lines[-1].keys() == {"level", "msg", "time"}
    assert lines[-1]["msg"] == "container 'nobody' does not exist"


def test_a_text_log_is_logrus_text(oci: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    oci.refused("--log", str(log), "--log-format", "text", "state", 'a"\\\n')
    line = log.read_text()
    assert line.count("\n") == 1 and ' level=error msg="' in line
    message = line.partition(" msg=")[2].strip()
    assert json.loads(message).startswith("""'a"\\\\\\n' is not a container id""")


def test_a_log_that_cannot_be_written_takes_no_error_away(oci: Runtime) -> None:
    for log in ("/no/such/folder/log", "/", "/dev/full"):
        assert "does not exist" in oci.refused("--log", log, "state", "nobody")


def test_the_debug_log_says_why_a_bundle_is_wasm(oci: Runtime) -> None:
    container_id = oci.new_id()
    oci.ok("--debug", "create", "-b", str(oci.bundle()), container_id)
    assert [line["msg"].partition(":")[0] for line in oci.logged() if line["level"] == "debug"] == ["module"]


def test_an_error_of_exec_has_a_code_of_its_own(oci: Runtime) -> None:
    assert "does not exist" in oci.refused("exec", "nobody", "/app.wasm", code=255)


words = st.lists(st.one_of(st.sampled_from([
    "state", "list", "kill", "delete", "--force", "-f", "--", "-", "--root", "/nonexistent", "--log-format", "json",
    "ps", "events", "spec", "--bundle", "update", "-r", "features", "--help", "=", "--=", "-a=true",
]), st.text(max_size=6).filter(lambda text: "\0" not in text)), max_size=6)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words)
def test_any_command_line_ends_with_a_code_and_at_most_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, given_words: list[str]
) -> None:
    if "install" in given_words or "uninstall" in given_words or "spec" in given_words:
        given_words = ["list"]
    code = main(["--root", str(tmp_path / "state"), *given_words])
    said = capsys.readouterr()
    assert code in (0, 1, 255)
    assert said.err.count("\n") == (code != 0)
    assert "fault of sampan-oci" not in said.err
