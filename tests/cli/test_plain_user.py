"""The command as an ordinary user."""

import pytest

from tests.plain_user import NEEDED, plain_user

pytestmark = NEEDED
nobody = pytest.fixture(plain_user)


def test_a_plain_user_runs_files_and_is_told_what_is_missing(nobody):
    done = nobody("run", "--rm", str(nobody.folder / "examples/01-hello/hello.wasm"), "one")
    assert done.returncode == 0, done.stderr
    assert "Hello, World!" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "no cgroup" in done.stderr


def test_strict_makes_a_missing_wall_an_error(nobody):
    done = nobody("run", "--rm", "--strict", str(nobody.folder / "examples/01-hello/hello.wasm"))
    assert done.returncode == 125
    assert done.stdout == ""
    assert "--waive cgroup" in done.stderr


def test_a_plain_user_builds_runs_in_the_background_execs_and_removes(nobody):
    done = nobody("build", "-q", "-t", "toolbox", str(nobody.folder / "examples/05-toolbox"))
    assert done.returncode == 0, done.stderr
    done = nobody("run", "-d", "--name", "box", "toolbox", "sleep", "100")
    assert done.returncode == 0, done.stderr
    try:
        assert nobody("exec", "box", "/toolbox.wasm", "write", "/note", "mine").returncode == 0
        done = nobody("exec", "box", "/toolbox.wasm", "cat", "/note")
        assert done.stdout.strip() == "mine", done.stderr
        assert "box" in nobody("ps").stdout
        done = nobody("stop", "-t", "5", "box")
        assert done.returncode == 0, done.stderr
        assert nobody("wait", "box").stdout.strip() == "143"
    finally:
        done = nobody("rm", "-f", "box")
        assert done.returncode == 0, done.stderr


def test_the_memory_limit_is_held_by_the_engine(nobody):
    toolbox = str(nobody.folder / "examples/05-toolbox/toolbox.wasm")
    done = nobody("run", "--rm", "-m", "16m", toolbox, "grow", "64")
    assert "64" not in done.stdout.split(), done.stdout
