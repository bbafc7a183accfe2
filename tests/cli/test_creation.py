"""What `run` and `create` refuse, and that nothing of a refused container stays."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .conftest import TOOLBOX, Harbour, Sampan


def containers_of(sampan: Sampan) -> list[Path]:
    return list((sampan.folder / "data" / "containers").glob("[!.]*"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ulimit", "nofile=0"], "limit nofile of 0"),
        (["--ulimit", "nofile=3"], "limit nofile of 3"),
        (["--ulimit", "fsize=0"], "limit fsize of 0"),
        (["--ulimit", "as=1"], "limit as of 1"),
        (["--ulimit", "data=1:9"], "limit data of 1"),
        (["--pids-limit", "1"], "limit on processes and threads of 1"),
        (["-d", "--pids-limit", "1"], "limit on processes and threads of 1"),
        (["-m", "64k"], "memory limit of 65536"),
    ],
)
def test_limits_too_low_to_start_with_are_refused_by_name(
    harbour: Harbour, flags: list[str], said: str
) -> None:
    done = harbour("run", *flags, str(TOOLBOX), "echo", "hi")
    assert (done.returncode, done.stdout) == (125, "")
    assert said in done.stderr and "the least is" in done.stderr and "(INVALID)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert containers_of(harbour) == []


def test_a_pids_limit_of_0_is_none(harbour: Harbour) -> None:
    assert harbour.ok("run", "--rm", "--pids-limit", "0", str(TOOLBOX), "echo", "hi") == "hi\n"


def test_what_is_no_file_is_not_run(sampan: Sampan) -> None:
    (sampan.folder / "folder").mkdir()
    os.mkfifo(sampan.folder / "fifo")
    for path, said in [("./folder", "a folder"), ("./fifo", "a device, pipe or socket")]:
        done = sampan("run", "--rm", path)
        assert (done.returncode, done.stdout) == (126, "")
        assert f"{path} is {said}" in done.stderr and "(INVALID)" in done.stderr
    assert containers_of(sampan) == []


def test_a_broken_text_is_refused_as_a_broken_binary_is(sampan: Sampan) -> None:
    (sampan.folder / "bad.wat").write_text("(module (oops))")
    (sampan.folder / "bad.wasm").write_bytes(b"\0asm\1\0\0\0junk")
    for name in ("bad.wat", "bad.wasm"):
        done = sampan("run", "--rm", name)
        assert done.returncode == 126, done.stderr
        assert name in done.stderr and "(INVALID)" in done.stderr
    assert containers_of(sampan) == []


def test_a_broken_text_leaves_no_container(sampan: Sampan) -> None:
    (sampan.folder / "bad.wat").write_text("(module (oops))")
    assert sampan("create", "--name", "half", "bad.wat").returncode == 126
    assert containers_of(sampan) == []
    assert "half" not in sampan.ok("ps", "-a")


def test_an_id_that_cannot_be_written_leaves_no_container(sampan: Sampan) -> None:
    done = sampan("create", "--cidfile", "absent/id", str(TOOLBOX))
    assert done.returncode == 125
    assert "cannot write the container's id" in done.stderr and "absent/id" in done.stderr
    assert containers_of(sampan) == []


def test_arguments_that_are_not_utf8_are_refused(sampan: Sampan) -> None:
    for words in ([b"create", b"-e", b"A=\xff"], [b"create", b"--name", b"n\xff"], [b"explain", b"n\xff"]):
        done = subprocess.run(
            [*sampan.command(), *words, str(TOOLBOX).encode()],
            capture_output=True,
            env=sampan.env,
            timeout=60,
        )
        assert done.returncode == 125
        assert b"is not UTF-8 (INVALID)" in done.stderr and b"\\udcff" in done.stderr
    assert containers_of(sampan) == []


def test_an_inherited_value_that_is_not_utf8_is_refused(sampan: Sampan) -> None:
    env = {os.fsencode(k): os.fsencode(v) for k, v in sampan.env.items()} | {b"OWN": b"\xff"}
    module = str(TOOLBOX)
    for words in (["create", "-e", "OWN", module], ["build", "--build-arg", "OWN", module]):
        done = subprocess.run(sampan.command(*words), capture_output=True, env=env, timeout=60)
        assert done.returncode in (1, 125)
        assert b"the value of the variable 'OWN' is not UTF-8" in done.stderr
        assert b"(INVALID)" in done.stderr
    assert containers_of(sampan) == []


@pytest.mark.parametrize("flag", ["--env-file", "--label-file"])
def test_files_of_values_that_are_none_are_refused(sampan: Sampan, flag: str) -> None:
    (sampan.folder / "bytes").write_bytes(b"A=\xff\n")
    (sampan.folder / "folder").mkdir()
    for name, said in [("bytes", "bytes is not UTF-8"), ("folder", "Is a directory (folder)")]:
        done = sampan("create", flag, name, str(TOOLBOX))
        assert done.returncode == 125
        assert said in done.stderr and "(INVALID)" in done.stderr
    assert containers_of(sampan) == []


def test_a_lower_limit_of_the_caller_is_the_containers_too(harbour: Harbour) -> None:
    command = harbour.command("create", "--name", "few", str(TOOLBOX), "echo", "hi")
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *command],
        env=harbour.env,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    limits = json.loads(harbour.ok("inspect", "-f", "{{json .HostConfig.Ulimits}}", "few"))
    assert {"Name": "nofile", "Hard": 200, "Soft": 200} in limits
    assert harbour.ok("start", "-a", "few") == "hi\n"


def test_a_path_that_is_not_utf8_is_refused_and_leaves_no_container(sampan: Sampan) -> None:
    folder = os.fsencode(sampan.folder) + b"/other\xff"
    os.mkdir(folder)
    done = subprocess.run(
        sampan.command("run", "--rm", "--dir", ".", str(TOOLBOX), "echo", "hi"),
        cwd=folder,
        capture_output=True,
        env=sampan.env,
        timeout=60,
    )
    assert done.returncode == 125, done.stderr
    assert b"is not UTF-8" in done.stderr and b"(INVALID)" in done.stderr
    assert containers_of(sampan) == []


def test_a_value_beyond_the_basic_plane_is_text(harbour: Harbour) -> None:
    assert "A=\U0001f6f6" in harbour.ok("run", "--rm", "-e", "A=\U0001f6f6", str(TOOLBOX), "env")
