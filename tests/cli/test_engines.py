"""`--engine`: another package's engine, found by its entry point; the worked example of docs/engines.md."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "08-engine"
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
COUNTING = "#!tape\n" + "+" * 65 + "." + "+."
ECHOING = "#!tape\n,[.,]"


class Installation:
    """A prefix as pip makes it, with the example's package, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages = folder / "lib" / VERSION / "site-packages"
        self.packages.mkdir(parents=True)
        (folder / "bin").mkdir()
        (folder / "bin" / VERSION).symlink_to(Path(sys.executable).resolve())
        shutil.copy(ROOT / "scripts" / "sampan", folder / "bin")
        (self.packages / "sampan").symlink_to(ROOT / "src" / "sampan")
        (self.packages / "wasmtime").symlink_to(Path(find_spec("wasmtime").origin).parent)
        shutil.copy(EXAMPLE / "tape_engine.py", self.packages)
        self.installs("tape = tape_engine:engine")

    def installs(self, *lines: str, section: str = "sampan.engines") -> None:
        info = self.packages / "sampan_tape-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "entry_points.txt").write_text(
            "\n".join(["[console_scripts]", "x = y:z", "", f"[{section}]", *lines])
        )

    def write(self, text: str, name: str = "program.tape") -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def __call__(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        env = {
            "PATH": os.environ["PATH"],
            "SAMPAN_ROOT": str(self.folder / "data"),
            "SAMPAN_RUN_ROOT": str(self.folder / "run"),
        }
        done = subprocess.run(
            [self.folder / "bin" / "sampan", *words],
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def tape(self, text: str, *flags: str, stdin: str = "") -> tuple[int, str, str]:
        return self("run", "--rm", "-i", *flags, "--engine", "tape", self.write(text), stdin=stdin)


@pytest.fixture
def sampan(tmp_path):
    return Installation(tmp_path)


def test_the_worked_example_runs(sampan):
    hello = str(EXAMPLE / "hello.tape")
    for _ in range(2):  # compiled, then from the cache
        assert sampan("run", "--rm", "--engine", "tape", hello) == (0, "Hello World!\n", "")
    assert len(list((sampan.folder / "data" / "code").iterdir())) == 1


def test_it_has_the_containers_streams_and_its_traps_are_traps(sampan):
    assert sampan.tape(ECHOING, stdin="echo") == (0, "echo", "")
    assert sampan.tape(COUNTING) == (0, "AB", "")
    code, out, err = sampan.tape("#!tape\n+.<")
    assert (code, out) == (134, "\1") and "the head left the tape at instruction 2" in err


def test_another_version_compiles_anew(sampan):
    assert sampan.tape(COUNTING)[0] == 0
    engine = sampan.packages / "tape_engine.py"
    engine.write_text(engine.read_text().replace('version = "1"', 'version = "2"').replace("% 256", "% 255"))
    os.utime(engine, (0, 0))  # of the same length and second, it would be taken for the one compiled already
    os.utime(engine, (0, 0))  # of another time, as one that is installed later: Python looks at that
    assert sampan.tape(COUNTING)[0] == 0
    assert len(list((sampan.folder / "data" / "code").iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!tape\n+]", "the bracket at instruction 1 closes nothing"),
        ("#!tape\n[[]", "the bracket at instruction 0 is not closed"),
        ("#!other\n", "is nothing that the engine tape runs"),
        ("", "is nothing that the engine tape runs"),
    ],
)
def test_what_it_does_not_take_is_one_sentence(sampan, text, said):
    code, out, err = sampan.tape(text)
    assert (code, out, err.count("\n")) == (126, "", 1) and said in err


def test_an_engine_that_is_not_there_is_named_with_those_that_are(sampan):
    code, _, err = sampan("run", "--rm", "--engine", "none", sampan.write(COUNTING))
    assert code != 0 and "there is no engine 'none'" in err and "wasmtime, tape" in err


@pytest.mark.parametrize(
    "line",
    [
        "tape = nowhere:engine",
        "tape = tape_engine:nothing",
        "tape = tape_engine:INSTRUCTIONS.nothing",
        "tape =",
    ],
)
def test_a_broken_package_is_an_error_that_names_the_engine(sampan, line):
    sampan.installs(line)
    code, _, err = sampan.tape(COUNTING)
    assert code != 0 and err.count("\n") == 1 and "the engine tape cannot be loaded" in err


def test_an_engine_that_fails_is_an_error_that_names_it(sampan):
    engine = sampan.packages / "tape_engine.py"
    engine.write_text(
        engine.read_text().replace(
            "def load(self, code, entry, name):", "def load(self, code, entry, name):\n        1 / 0"
        )
    )
    code, _, err = sampan.tape(COUNTING)
    assert (code, err.count("\n")) == (126, 1)
    assert "by the engine tape: ZeroDivisionError" in err


@pytest.mark.parametrize("body", ["1 / 0", "return head.nothing"])
def test_an_engine_that_fails_when_it_is_asked_is_an_error_that_names_it(sampan, body):
    engine = sampan.packages / "tape_engine.py"
    engine.write_text(
        engine.read_text().replace(
            "def handles(self, head, name):", f"def handles(self, head, name):\n        {body}"
        )
    )
    code, _, err = sampan.tape(COUNTING)
    assert code != 0 and err.count("\n") == 1 and "the engine tape cannot be loaded" in err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "gave None, which is no ending"),
        ('return Ending(300, "exited")', "which is no ending"),
        ('return Ending(-1, "exited")', "which is no ending"),
        ('return Ending("1", "exited")', "which is no ending"),
        ("raise SystemExit(3)", "failed: SystemExit: 3"),
        ("1 / 0", "failed: ZeroDivisionError"),
    ],
)
def test_a_run_that_does_not_end_as_it_should_names_the_engine(sampan, body, said):
    engine = sampan.packages / "tape_engine.py"
    run = "def run(self, grants, on_bind=None):"
    engine.write_text(engine.read_text().replace(run, f"{run}\n        {body}"))
    code, _, err = sampan.tape(COUNTING)
    assert code == 125 and "the engine tape" in err and said in err


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("compile(self, source)", "return None", "its compile gave NoneType, not bytes"),
        ("load(self, code, entry, name)", "return None", "its load gave NoneType, which does not run"),
        ("load(self, code, entry, name)", "raise SystemExit(1)", "SystemExit"),
        ("handles(self, head, name)", "raise KeyError('x')", "the engine tape cannot be loaded: KeyError"),
    ],
)
def test_rubbish_from_an_engine_is_one_sentence_that_names_it(sampan, method, body, said):
    engine = sampan.packages / "tape_engine.py"
    engine.write_text(engine.read_text().replace(f"def {method}:", f"def {method}:\n        {body}"))
    code, _, err = sampan.tape(COUNTING)
    assert code != 0 and err.count("\n") == 1 and "tape" in err and said in err


def test_an_engine_that_exits_when_it_is_imported_is_not_ours_to_blame(sampan):
    engine = sampan.packages / "tape_engine.py"
    engine.write_text("raise SystemExit(3)\n")
    code, _, err = sampan.tape(COUNTING)
    assert code != 0 and "the engine tape cannot be loaded: SystemExit: 3" in err and err.count("\n") == 1


@pytest.mark.parametrize("name", ["", "../up", "sp ace", "a\tb"])
def test_odd_names_are_no_engines(sampan, name):
    sampan.installs(f"{name} = tape_engine:engine", "good-1.x_y = tape_engine:engine")
    err = sampan.tape(COUNTING)[2]
    assert "there are: wasmtime, good-1.x_y" in err


def test_other_groups_are_no_engines(sampan):
    sampan.installs("tape = tape_engine:engine", section="other.engines")
    assert "there is no engine 'tape'" in sampan.tape(COUNTING)[2]


def test_wasmtime_is_an_engine_by_its_name(sampan):
    hello = ROOT / "examples" / "01-hello" / "hello.wasm"
    assert sampan("run", "--rm", "--engine", "wasmtime", str(hello))[0] == 0
