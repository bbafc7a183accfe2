"""The guests of `examples/`: what is kept runs, and what is too large to keep can be built and runs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sampan.engine.grants import Grants, Limits, Preopen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.engine.conftest import RunGuest

EXAMPLES = Path(__file__).parents[2] / "examples"
TOOLBOX = EXAMPLES / "05-toolbox/toolbox.wasm"


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_examples", EXAMPLES / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def built() -> Callable[[str, str], bytes]:
    """Builds a guest once for each state of its sources, and keeps it outside the tree."""
    kept = Path(tempfile.gettempdir()) / f"sampan-guests-{os.getuid()}"

    def build(folder: str, function: str) -> bytes:
        sources = sorted(
            p for p in (EXAMPLES / folder).rglob("*") if p.suffix in (".py", ".wit", ".go", ".mod")
        )
        digest = hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()
        out = kept / f"{folder}-{digest}.wasm"
        if not out.exists():
            kept.mkdir(mode=0o700, exist_ok=True)
            module = builder()
            try:
                new = getattr(module, function)(out.with_suffix(f".{os.getpid()}"))
            except module.MissingToolError as error:
                pytest.skip(str(error))
            new.rename(out)
        return out.read_bytes()

    return build


def test_hello_prints_its_arguments_and_environment(run_guest: RunGuest) -> None:
    outcome = run_guest((EXAMPLES / "01-hello/hello.wasm").read_bytes(), Grants(["hello", "a b"], ["K=V"]))
    assert outcome.stdout == b"Hello, World!\narg 0: hello\narg 1: a b\nenv: K=V\n"


@pytest.mark.parametrize(
    ("words", "code", "reason", "stdout"),
    [
        ("exit 0", 0, "exited", b""),
        ("exit 42", 42, "exited", b""),
        ("exit 255", 255, "exited", b""),
        ("exit 256", 0, "exited", b""),
        ("exit -1", 255, "exited", b""),
        ("echo a b", 0, "exited", b"a b\n"),
        ("args a b", 0, "exited", b"a\nb\n"),
        ("env", 0, "exited", b"K=V\n"),
        ("stdin", 0, "exited", b"typed"),
        ("flood 10000", 0, "exited", (b"x" * 4095 + b"\n") * 2 + b"x" * 1808),
        ("grow 20", 0, "exited", b"grown by 20 MiB\n"),
        ("ls /", 0, "exited", b"file\n"),
        ("cat /file", 0, "exited", b"content"),
        ("cat /none", 1, "exited", b""),
        ("trap", 134, "trap", b""),
        ("recurse", 134, "trap", b""),
        ("tick 2 1", 0, "exited", b"tick 0\ntick 1\n"),
        ("sleep 0.01", 0, "exited", b""),
        ("nonsense", 2, "exited", b""),
        ("cat", 2, "exited", b""),
    ],
)
def test_toolbox(
    run_guest: RunGuest, tmp_path: Path, words: str, code: int, reason: str, stdout: bytes
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_text("content")
    grants = Grants(["toolbox", *words.split()], ["K=V"], [Preopen(str(tmp_path / "root"), "/")])
    outcome = run_guest(TOOLBOX.read_bytes(), grants, stdin=b"typed")
    assert (outcome.code, outcome.reason, outcome.stdout) == (code, reason, stdout)


def test_toolbox_changes_files(run_guest: RunGuest, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for words in (["write", "/new", "some text"], ["rm", "/old"]):
        (tmp_path / "root/old").touch()
        grants = Grants(["toolbox", *words], [], [Preopen(str(tmp_path / "root"), "/")])
        assert run_guest(TOOLBOX.read_bytes(), grants).code == 0
    assert (tmp_path / "root/new").read_text() == "some text"
    assert not (tmp_path / "root/old").exists()


def test_W10_toolbox_is_refused_memory_beyond_its_limit(run_guest: RunGuest) -> None:
    outcome = run_guest(
        TOOLBOX.read_bytes(), Grants(["toolbox", "grow", "64"], limits=Limits(memory=32 << 20))
    )
    size = re.fullmatch(rb"grown by (\d+) MiB\n", outcome.stdout)
    assert size
    assert 26 < int(size[1]) < 32
    assert outcome.code == 1


def test_one_of_everything(run_guest: RunGuest, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    code = (EXAMPLES / "06-wasi-example/wasi-example.wasm").read_bytes()
    grants = Grants(["/wasi-example.wasm", "50000000"], ["HOME=/"], [Preopen(str(tmp_path / "root"), "/")])
    lines = run_guest(code, grants).stdout.decode().splitlines()
    assert re.fullmatch(r"Random number: -?\d+", lines[0])
    assert lines[1].count(",") == 127
    assert lines[2:] == [
        "Printed from wasi: This is from a main function",
        "This is from a main function",
        "The env vars are as follows.",
        "HOME: /",
        "The args are as follows.",
        "/wasi-example.wasm",
        "50000000",
        "File content is This is in a file",
    ]
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code", "stdout"),
    [("exit-ok", 0, b""), ("exit-error", 1, b""), ("print", 0, b"Hello from a component!\n")],
)
def test_small_components(run_guest: RunGuest, name: str, code: int, stdout: bytes) -> None:
    outcome = run_guest((EXAMPLES / f"03-component/{name}.wat").read_text())
    assert (outcome.kind, outcome.code, outcome.stdout) == ("component", code, stdout)


def test_a_component_in_python(run_guest: RunGuest, built: Callable[[str, str], bytes]) -> None:
    outcome = run_guest(built("03-component", "build_component"), Grants(["hello", "you"]), timeout=100)
    assert (outcome.kind, outcome.stdout) == ("component", b"Hello from a Python component! you\n")


def test_a_guest_in_go(run_guest: RunGuest, built: Callable[[str, str], bytes]) -> None:
    outcome = run_guest(built("04-go", "build_go"), Grants(["worker", "1ms", "2"]))
    assert (outcome.kind, outcome.stdout) == ("module", b"Hello from Go! 0\nHello from Go! 1\n")
