"""`sampan logs`: streams, bounds, following to the end."""

from __future__ import annotations

import json
import re
import time

import pytest

from sampan.core.errors import Invalid
from sampan.core.units import parse_rfc3339
from sampan.doors.cli.moments import parse_moment

from .conftest import TOOLBOX, Harbour, Sampan


def ticks(harbour: Harbour, count: int, pause: int = 0) -> None:
    """A container `t` that has written its lines."""
    harbour.start_file("t", "tick", str(count), str(pause))
    harbour.ok("wait", "t")


def test_each_stream_goes_to_its_own(harbour: Harbour) -> None:
    harbour.start_file("out", "echo", "to", "stdout")
    harbour.start_file("err", "stderr", "to stderr")
    harbour.ok("wait", "out", "err")
    shown = [harbour("logs", name) for name in ("out", "err")]
    assert [(done.stdout, done.stderr) for done in shown] == [("to stdout\n", ""), ("", "to stderr\n")]


@pytest.mark.parametrize(("tail", "first", "lines"), [("all", 0, 5), ("2", 3, 2), ("0", 5, 0), ("99", 0, 5)])
def test_tail(harbour: Harbour, tail: str, first: int, lines: int) -> None:
    ticks(harbour, 5)
    expected = "".join(f"tick {n}\n" for n in range(first, first + lines))
    assert harbour.ok("logs", "-n", tail, "t") == expected
    assert harbour.ok("container", "logs", f"--tail={tail}", "t") == expected


def test_times_and_bounds(harbour: Harbour) -> None:
    ticks(harbour, 4, 50)
    stamped = harbour.ok("logs", "-t", "t").splitlines()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z tick \d", line) for line in stamped)
    moments = [line.split()[0] for line in stamped]
    assert moments == sorted(moments)
    assert harbour.ok("logs", "--since", moments[2], "t") == "tick 2\ntick 3\n"
    assert harbour.ok("logs", "--until", moments[1], "t") == "tick 0\ntick 1\n"
    assert harbour.ok("logs", "--since", moments[1], "--until", moments[2], "-n", "1", "t") == "tick 2\n"
    assert harbour.ok("logs", "--since", "1h", "t").count("tick") == 4
    assert harbour.ok("logs", "--until", "1h", "t") == ""
    assert harbour.ok("logs", "--since", str(parse_rfc3339(moments[3]) // 10**9 + 60), "t") == ""


def test_a_line_in_pieces_has_one_time(harbour: Harbour) -> None:
    harbour.start_file("long", "echo", "x" * 50_000)
    harbour.ok("wait", "long")
    done = harbour.ok("logs", "-t", "long")
    assert done.count("\n") == 1
    assert done.partition(" ")[2] == "x" * 50_000 + "\n"


def test_follow_shows_what_comes_and_ends_with_the_container(harbour: Harbour) -> None:
    harbour.start_file("t", "tick", "6", "100")
    follower = harbour.spawn("logs", "-f", "t")
    out, err = follower.communicate(timeout=60)
    assert (follower.returncode, err) == (0, b"")
    assert out == b"".join(b"tick %d\n" % n for n in range(6))


def test_follow_ends_when_the_container_is_removed(harbour: Harbour) -> None:
    harbour.start_file("t", "tick")
    follower = harbour.spawn("logs", "-f", "t")
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"tick 0\n"
    harbour.ok("rm", "-f", "t")
    follower.communicate(timeout=60)
    assert follower.returncode == 0


def test_follow_goes_on_after_a_restart(harbour: Harbour) -> None:
    harbour.start_file("again", "echo", "hello", flags=("--restart", "always"))
    follower = harbour.spawn("logs", "-f", "again")
    assert follower.stdout is not None
    assert [follower.stdout.readline() for _ in range(3)] == [b"hello\n"] * 3
    harbour.ok("stop", "again")
    follower.communicate(timeout=60)
    assert follower.returncode == 0


def test_a_reader_that_goes_away_is_no_fault(harbour: Harbour) -> None:
    harbour.start_file("much", "flood", "1000000")
    harbour.ok("wait", "much")
    reader = harbour.spawn("logs", "much")
    assert reader.stdout is not None and reader.stderr is not None
    reader.stdout.read(10)
    reader.stdout.close()
    assert reader.wait(60) == 141
    assert reader.stderr.read() == b""
    reader.communicate()


def test_a_container_that_never_wrote(harbour: Harbour) -> None:
    harbour.ok("create", "--name", "fresh", str(TOOLBOX))
    assert harbour.ok("logs", "-f", "fresh") == ""


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["absent"], "no such container: absent", 1),
        (["-n", "-1", "absent"], "no such container", 1),
        ([], "needs exactly 1 argument", 125),
        (["--shout", "x"], "unknown flag: --shout", 125),
    ],
)
def test_logs_refuses_by_name(sampan: Sampan, words: list[str], said: str, code: int) -> None:
    done = sampan("logs", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    "words", [["--since", "yesterday"], ["--until", "-"], ["-n", "few"], ["-n", "-1"], ["--since", "9" * 20]]
)
def test_logs_refuses_values_that_make_no_sense(harbour: Harbour, words: list[str]) -> None:
    harbour.ok("create", "--name", "fresh", str(TOOLBOX))
    assert harbour("logs", *words, "fresh").returncode == 1


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1795236938", 1795236938 * 10**9),
        ("1795236938.000000005", 1795236938 * 10**9 + 5),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert parse_moment(text, "since") == moment


def test_moments_of_a_length_of_time_are_that_long_ago() -> None:
    before = time.time_ns()
    ago = parse_moment("1h30m", "since") + 5400 * 10**9
    assert before <= ago <= time.time_ns()


@pytest.mark.parametrize("text", ["", "x", "10 m", "1.2.3", "-5", "\u0661", "1970-13-01T00:00:00Z", "9" * 20])
def test_moments_that_are_none(text: str) -> None:
    with pytest.raises(Invalid):
        parse_moment(text, "since")


def test_the_log_of_a_pods_container_is_read_where_a_kubelet_wants_it(harbour: Harbour) -> None:
    container_id = harbour.ok("create", "-i", "--name", "web", harbour.image(), "stdin").strip()
    path = harbour.folder / "pods" / "0.log"
    record = harbour.folder_of(container_id) / "container.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"logPath": str(path)}))
    assert harbour.ok("inspect", "-f", "{{.LogPath}}", "web").strip() == str(path)
    harbour.ok("start", "web")
    assert harbour.ok("attach", "web", stdin=b"one\ntwo\n") == "one\ntwo\n"
    assert harbour.ok("logs", "web") == "one\ntwo\n"
    assert harbour.ok("logs", "-n", "1", "web") == "two\n"
    assert path.read_bytes().count(b" stdout F ") == 2
    path.rename(path.with_suffix(".old"))
    assert harbour.ok("logs", "web") == ""
