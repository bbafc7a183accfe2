from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from sampan import __version__
from sampan.doors.cli import listing

from .conftest import Sampan

BUILT = sorted(
    path.stem
    for path in Path(listing.__file__).parent.joinpath("commands").glob("*.py")
    if path.stem != "__init__"
)
NAMES = [name for name in listing.SUMMARIES if name.replace(" ", "_") in BUILT]


def test_the_version(sampan: Sampan) -> None:
    assert sampan.ok("--version") == sampan.ok("-v") == f"sampan version {__version__}\n"


def test_help_in_all_its_spellings(sampan: Sampan) -> None:
    shown = sampan.ok()
    assert shown == sampan.ok("--help") == sampan.ok("help") == sampan.ok("-h")
    for name, summary in {**listing.COMMON, **listing.PLAIN, **listing.MANAGEMENT}.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", shown, re.MULTILINE)


def test_help_of_a_group(sampan: Sampan) -> None:
    shown = sampan.ok("image")
    assert shown == sampan.ok("image", "--help") == sampan.ok("help", "image")
    assert "  convert   " in shown and "  ls  " in shown


@pytest.mark.parametrize("name", NAMES)
def test_help_of_every_command_ends_with_an_example(sampan: Sampan, name: str) -> None:
    shown = sampan.ok(*name.split(), "--help")
    assert shown == sampan.ok("help", *name.split())
    assert shown.startswith(f"Usage:  sampan {name}")
    assert listing.SUMMARIES[name] in shown
    last = shown.rstrip().rpartition("\n\n")[2]
    assert last.startswith("Examples:\n  ") and "sampan" in last


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_what_the_listing_says(name: str) -> None:
    command = listing.load(name)
    assert (command.name, command.summary) == (name, listing.SUMMARIES[name])
    spelled = [option.name for option in command.options]
    assert len(spelled) == len(set(spelled))
    short = [option.short for option in command.options if option.short]
    assert len(short) == len(set(short))
    assert all(o.help for o in command.options if not o.refusal)


def test_no_command_is_left_out_of_the_listing() -> None:
    assert set(BUILT) <= {name.replace(" ", "_") for name in listing.SUMMARIES}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["imgaes"], "'imgaes' is not a sampan command; did you mean images?"),
        (["container", "lss"], "'container lss' is not a sampan command; did you mean container ls?"),
        (["./x.wasm"], "to run a file: sampan run ./x.wasm"),
        (["--foo"], "unknown flag: --foo"),
        (["--root"], "flag needs an argument: --root DIR"),
        (["--log-level", "loud", "version"], "--log-level 'loud' is not one of"),
        (["help", "nonsense"], "'nonsense' is not a sampan command"),
    ],
)
def test_a_command_line_that_is_none_is_125(sampan: Sampan, words: list[str], said: str) -> None:
    done = sampan(*words)
    assert done.returncode == 125
    assert done.stderr.startswith("sampan: ") and said in done.stderr
    assert "(INVALID)\nSee 'sampan --help'.\n" in done.stderr
    assert done.stdout == ""


def test_a_wrong_flag_points_to_the_command_s_help(sampan: Sampan) -> None:
    done = sampan("version", "--fromat", "json")
    assert done.returncode == 125
    expected = (
        "sampan: unknown flag: --fromat; did you mean --format? (INVALID)\nSee 'sampan version --help'.\n"
    )
    assert done.stderr == expected


def test_no_traceback_for_a_fault_of_ours(sampan: Sampan) -> None:
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from sampan.doors.cli import listing, main\n"
        "listing.resolve = lambda words: 1 / 0\n"
        "sys.exit(main.main(['version']))"
    )
    source = str(Path(listing.__file__).parents[3])
    done = subprocess.run(
        [*sampan.command()[:3], "-c", code, source],
        env=sampan.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    found = re.fullmatch(
        r"sampan: fault [0-9a-f]{8}: ZeroDivisionError: division by zero; please report it with (\S+) \(INTERNAL\)\n",
        done.stderr,
    )
    assert found, done.stderr
    kept = Path(found[1])
    assert "ZeroDivisionError" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_under_the_output_is_an_error(sampan: Sampan) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            sampan.command("--help"), stdout=full, stderr=subprocess.PIPE, env=sampan.env, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"sampan: cannot go on: No space left on device")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_left_is_no_news(sampan: Sampan) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        sampan.command("--help"), stdout=write, stderr=subprocess.PIPE, env=sampan.env, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_closed_standard_streams_are_opened_on_nothing(sampan: Sampan) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *sampan.command("--help")], env=sampan.env, timeout=60
    )
    assert done.returncode == 0


def test_bytes_that_are_no_text_are_shown_escaped(sampan: Sampan) -> None:
    done = subprocess.run(
        [*sampan.command(), b"\xff\x1b[2J"], capture_output=True, env=sampan.env, timeout=60
    )
    assert done.returncode == 125
    assert b"\x1b" not in done.stderr and b"\\udcff\\x1b[2J" in done.stderr


def test_the_roots_can_be_chosen(sampan: Sampan) -> None:
    shown = sampan.ok("--root", "here", "--run-root=there", "info", "--format", "{{.Root}} {{.RunRoot}}")
    assert shown == f"{sampan.folder}/here {sampan.folder}/there\n"


def test_it_speaks_to_a_terminal_too(sampan: Sampan) -> None:
    controller, terminal = pty.openpty()
    done = subprocess.run(sampan.command("--version"), stdout=terminal, env=sampan.env, timeout=60)
    os.close(terminal)
    assert os.read(controller, 100) == f"sampan version {__version__}\r\n".encode()
    os.close(controller)
    assert done.returncode == 0
