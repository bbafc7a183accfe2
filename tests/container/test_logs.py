"""The log: CRI lines, bounded, exact to the byte; rows W18, W20, F27."""

import os
import resource
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.container.logs import STDERR, STDOUT, parse_line, read_log
from sampan.container.logwriter import MAX_PIECE, LogWriter
from sampan.core.errors import DataLoss


def content(folder, **options):
    return b"".join(line.content for line in read_log(str(folder), **options))


@settings(deadline=None)
@given(chunks=st.lists(st.binary(max_size=100), max_size=10))
def test_W20_any_bytes_come_back_as_they_were_written(tmp_path_factory, chunks):
    folder = tmp_path_factory.mktemp("log")
    writer = LogWriter(str(folder))
    for chunk in chunks:
        writer.write(STDOUT, chunk)
    assert content(folder) == b"".join(chunks)


def test_W20_a_long_line_is_split_at_16_kib_and_joined_again(tmp_path):
    data = b"x" * (3 * MAX_PIECE + 5) + b"\n"
    LogWriter(str(tmp_path)).write(STDOUT, data)
    raw = (tmp_path / "log.0").read_bytes().splitlines()
    assert [line.split(b" ")[2] for line in raw] == [b"P", b"P", b"P", b"F"]
    assert max(len(line.split(b" ", 3)[3]) for line in raw) == MAX_PIECE
    assert content(tmp_path) == data


def test_streams_are_kept_apart_and_in_order(tmp_path):
    writer = LogWriter(str(tmp_path))
    writer.write(STDOUT, b"one\n")
    writer.write(STDERR, b"two\n")
    writer.write(STDOUT, b"three\n")
    lines = list(read_log(str(tmp_path)))
    assert [(line.stream, line.content) for line in lines] == [(1, b"one\n"), (2, b"two\n"), (1, b"three\n")]
    assert lines == sorted(lines, key=lambda line: line.time)


def test_X8_times_never_go_back(tmp_path, monkeypatch):
    writer = LogWriter(str(tmp_path))
    for now in (2_000, 1_000, 3_000):
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        writer.write(STDOUT, b"x\n")
    assert [line.time for line in read_log(str(tmp_path))] == [2_000, 2_000, 3_000]


def test_W18_the_log_is_bounded_and_keeps_the_newest(tmp_path):
    writer = LogWriter(str(tmp_path), limit=10_000)
    for number in range(2_000):
        writer.write(STDOUT, b"line %d\n" % number)
    sizes = [os.path.getsize(tmp_path / name) for name in ("log.0", "log.1")]
    assert max(sizes) <= 10_000
    lines = content(tmp_path).splitlines()
    assert lines[-1] == b"line 1999"
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 2_000))


def test_a_second_run_goes_on_where_the_first_ended(tmp_path):
    for run in range(4):
        writer = LogWriter(str(tmp_path), limit=400)
        for number in range(5):
            writer.write(STDOUT, b"%d.%d\n" % (run, number))
    assert content(tmp_path).splitlines()[-5:] == [b"3.%d" % n for n in range(5)]


@pytest.mark.parametrize(("tail", "expected"), [(0, b""), (1, b"c\n"), (2, b"b\nc\n"), (9, b"a\nb\nc\n")])
def test_tail(tmp_path, tail, expected):
    LogWriter(str(tmp_path)).write(STDOUT, b"a\nb\nc\n")
    assert content(tmp_path, tail=tail) == expected


def test_tail_counts_an_unfinished_line(tmp_path):
    LogWriter(str(tmp_path)).write(STDOUT, b"a\nb\nend")
    assert content(tmp_path, tail=1) == b"end"
    assert content(tmp_path, tail=2) == b"b\nend"


@settings(deadline=None)
@given(
    chunks=st.lists(st.sampled_from([b"a\n", b"b", b"c\nd\n", b"e\nf"]), max_size=12),
    tail=st.integers(0, 8),
    limit=st.sampled_from([100, 300, 1 << 20]),
)
def test_a_tail_is_the_end_of_all_whichever_file_it_is_in(tmp_path_factory, chunks, tail, limit):
    folder = tmp_path_factory.mktemp("log")
    writer = LogWriter(str(folder), limit)
    for chunk in chunks:
        writer.write(STDOUT, chunk)
    # with a bound that excludes nothing, every line is looked at before the last ones are taken
    assert content(folder, tail=tail) == content(folder, tail=tail, since=1)


def test_since_and_until(tmp_path, monkeypatch):
    writer = LogWriter(str(tmp_path))
    for now in (100, 200, 300):
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        writer.write(STDOUT, b"%d\n" % now)
    assert content(tmp_path, since=200) == b"200\n300\n"
    assert content(tmp_path, until=200) == b"100\n200\n"


def test_F27_following_reads_across_a_change_of_files(tmp_path):
    writer = LogWriter(str(tmp_path), limit=300)
    written = iter(range(50))

    def follow():
        number = next(written, None)
        if number is not None:
            writer.write(STDOUT, b"%d\n" % number)
        return number is not None

    got = content(tmp_path, follow=follow).split()
    assert got == [b"%d" % n for n in range(50)]


@pytest.mark.parametrize(
    "line", [b"", b"x", b"2026-01-01T00:00:00Z stdout X a", b"2026-01-01T00:00:00Z other F a", b"a b c"]
)
def test_a_line_that_is_none_is_named(line):
    with pytest.raises(DataLoss, match="no log line"):
        parse_line(line, "the log")


def test_X1_a_full_disk_costs_lines_and_says_so(tmp_path, monkeypatch):
    writer = LogWriter(str(tmp_path))
    real = os.write

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    writer.write(STDOUT, b"lost\n")
    monkeypatch.setattr("os.write", real)
    writer.write(STDOUT, b"kept\n")
    lines = [line.content for line in read_log(str(tmp_path))]
    assert lines[-1] == b"kept\n"
    assert b"bytes of the log were lost" in lines[0]


def test_a_limit_on_files_costs_lines_and_no_more(tmp_path):
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            log = LogWriter(str(tmp_path), 1000)
            log.write(STDOUT, b"x\n" * 100)
            log.write(STDOUT, b"short\n")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert any(line.content.endswith(b"short\n") for line in read_log(str(tmp_path)))


def test_a_new_log_begins_in_the_first_file(tmp_path):
    """Which of the two was made last says nothing while both are empty."""
    for name, time in (("log.0", 1), ("log.1", 2)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    LogWriter(str(tmp_path)).write(STDOUT, b"hello\n")
    assert (tmp_path / "log.0").read_bytes().endswith(b"hello\n")
