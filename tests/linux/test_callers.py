"""Standing in for another process: what is taken over, and what is too different for it."""

import os
import resource
import subprocess
import sys

import pytest

from sampan.core.errors import NotFound, Precondition
from sampan.linux import callers

STANDS_IN = """
import os, resource, sys
sys.path[:] = sys.argv[1].split(":")
from sampan.linux import callers
words = callers.stand_in(int(sys.argv[2]), (3, 4, 5))
print(words[-2:], os.environ, os.getcwd(), oct(os.umask(0)), resource.getrlimit(7), sys.stdin.read(), flush=True)
os.write(2, b"error")
"""


@pytest.fixture
def sleeper():
    started = []

    def start(change=lambda: None, **more):
        started.append(subprocess.Popen(["sleep", "1000"], preexec_fn=change, **more))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_child_is_alike(sleeper):
    callers.check_is_alike(sleeper())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda: os.nice(3), "priority"),
        (lambda: os.setgroups([44]), "Groups"),
        (lambda: os.setuid(1000), "Uid"),
        (lambda: os.sched_setaffinity(0, [0]), "Cpus_allowed"),
        (lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"500"), "oom_score_adj"),
    ],
)
def test_what_differs_is_named(sleeper, change, what):
    with pytest.raises(Precondition, match=f"another {what} than this one"):
        callers.check_is_alike(sleeper(change))


def test_another_root_folder_is_named(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.chroot(root)
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    try:
        with pytest.raises(Precondition, match="another root folder than this one"):
            while os.readlink(f"/proc/{pid}/root") == "/":
                continue
            callers.check_is_alike(pid)
    finally:
        os.close(theirs)
        os.waitpid(pid, 0)
        os.close(ours)


def test_a_process_that_is_gone_is_no_caller():
    with pytest.raises(Precondition):
        callers.check_is_alike(2**22 + 1)
    with pytest.raises(NotFound):
        callers.stand_in(2**22 + 1, (0, 1, 2))


def test_descriptors_folder_umask_limits_environment_and_words_are_the_callers(sleeper, tmp_path):
    (tmp_path / "in").write_text("input")
    with (
        (tmp_path / "in").open() as given,
        (tmp_path / "out").open("w") as out,
        (tmp_path / "err").open("w") as err,
    ):
        files = [os.dup(file.fileno()) for file in (given, out, err)]

        def place():
            os.umask(0o27)
            resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))
            for number, fd in enumerate(files, 3):
                os.dup2(fd, number + 50)
            for number in range(3, 6):
                os.dup2(number + 50, number)

        pid = sleeper(place, cwd=tmp_path, env={"PLACE": "a=b"}, close_fds=False)
        subprocess.run(
            [sys.executable, "-c", STANDS_IN, ":".join(sys.path), str(pid)], check=True, timeout=60
        )
        for fd in files:
            os.close(fd)
    said = (tmp_path / "out").read_text()
    assert said == f"['sleep', '1000'] environ({{'PLACE': 'a=b'}}) {tmp_path} 0o27 (99, 99) input\n"
    assert (tmp_path / "err").read_text() == "error"
