"""The log in a file that a kubelet wants and rotates: whole lines, no line lost, nothing outside its folder.

Rows W18, W20, F27, K7, X1, X10.
"""

import os
import pathlib
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.container import control, ending, starting, stdio
from sampan.container.logs import STDERR, STDOUT, has_log, open_log, parse_line, read_log, reopen
from sampan.container.logwriter import MAX_PIECE, CriLogWriter
from sampan.container.reaper import reap
from sampan.container.records import Container
from sampan.core.errors import Invalid, Precondition, SampanError

from .test_attach import attach, collect
from .test_foreign import BUSYBOX, RUNC, linux, shell, until  # noqa: F401 - a fixture


def container(path, folder=""):
    return Container("c1", "c1", "toolbox", 1, log_path=str(path), log_folder=str(folder))


def writer(path):
    return CriLogWriter(open_log(container(path)))


def pieces(*paths):
    """Tag and content of each line in the files, as a kubelet reads them."""
    lines = [line for path in paths for line in pathlib.Path(path).read_bytes().split(b"\n")[:-1]]
    for line in lines:
        parse_line(line, "the log")
    return [tuple(line.split(b" ", 3)[1:]) for line in lines]


def content(path, **options):
    return b"".join(line.content for line in read_log("/nowhere", path=str(path), **options))


@settings(deadline=None)
@given(chunks=st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=100)), max_size=10))
def test_W20_any_bytes_come_back_as_they_were_written(tmp_path_factory, chunks):
    path = tmp_path_factory.mktemp("log") / "0.log"
    log = writer(path)
    for stream, chunk in chunks:
        log.write(stream, chunk)
    log.flush()
    for stream in (STDOUT, STDERR):
        got = b"".join(line.content for line in read_log("", path=str(path)) if line.stream == stream)
        assert got == b"".join(chunk for s, chunk in chunks if s == stream)


def test_a_line_that_is_written_in_pieces_is_one_line(tmp_path):
    log = writer(tmp_path / "0.log")
    log.write(STDOUT, b"one ")
    assert log.is_holding
    log.write(STDERR, b"between\n")
    log.write(STDOUT, b"line\nand ")
    assert pieces(tmp_path / "0.log") == [
        (b"stderr", b"F", b"between"),
        (b"stdout", b"F", b"one line"),
    ]
    log.flush()
    assert not log.is_holding
    assert pieces(tmp_path / "0.log")[-1] == (b"stdout", b"P", b"and ")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (MAX_PIECE, [(b"F", MAX_PIECE)]),
        (MAX_PIECE + 1, [(b"P", MAX_PIECE), (b"F", 1)]),
        (3 * MAX_PIECE, [(b"P", MAX_PIECE), (b"P", MAX_PIECE), (b"F", MAX_PIECE)]),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_W20_a_long_line_is_split_at_16_kib(tmp_path, size, expected, step):
    log = writer(tmp_path / "0.log")
    data = b"x" * size + b"\n"
    for start in range(0, len(data), step):
        log.write(STDOUT, data[start : start + step])
    assert [(tag, len(text)) for _, tag, text in pieces(tmp_path / "0.log")] == expected


def test_a_line_without_an_end_is_never_held_beyond_16_kib(tmp_path):
    log = writer(tmp_path / "0.log")
    for _ in range(10):
        log.write(STDOUT, b"x" * MAX_PIECE)
    assert sum(len(text) for _, _, text in pieces(tmp_path / "0.log")) >= 9 * MAX_PIECE
    log.flush()
    assert content(tmp_path / "0.log") == b"x" * (10 * MAX_PIECE)


def test_F27_what_is_held_goes_to_the_new_file_whole(tmp_path):
    log = writer(tmp_path / "0.log")
    log.write(STDOUT, b"old\nbegun ")
    os.rename(tmp_path / "0.log", tmp_path / "0.log.1")
    log.reopen(open_log(container(tmp_path / "0.log")))
    log.write(STDOUT, b"before\n")
    assert pieces(tmp_path / "0.log.1") == [(b"stdout", b"F", b"old")]
    assert pieces(tmp_path / "0.log") == [(b"stdout", b"F", b"begun before")]


def test_F27_following_reads_across_rotations(tmp_path):
    path = tmp_path / "0.log"
    log = writer(path)
    numbers = iter(range(50))

    def follow():
        number = next(numbers, None)
        if number is None:
            return False
        if number % 10 == 9:
            os.rename(path, f"{path}.{number}")
            log.write(STDOUT, b"%d\n" % number)  # a kubelet renames first: this goes to the old file
            log.reopen(open_log(container(path)))
        else:
            log.write(STDOUT, b"%d\n" % number)
        return True

    assert content(path, follow=follow).split() == [b"%d" % number for number in range(50)]


def test_a_log_that_comes_later_or_is_emptied_is_followed(tmp_path):
    path = tmp_path / "0.log"
    steps = iter([
        lambda: writer(path).write(STDOUT, b"first line\n"),
        lambda: os.truncate(path, 0),
        lambda: writer(path).write(STDOUT, b"x\n"),
    ])  # fmt: skip

    def follow():
        step = next(steps, None)
        if step is not None:
            step()
        return step is not None

    assert content(path, follow=follow) == b"first line\nx\n"


@settings(deadline=None, max_examples=50)
@given(
    lines=st.lists(st.integers(0, 3 * MAX_PIECE), max_size=20), tail=st.integers(0, 25), ended=st.booleans()
)
def test_a_tail_is_the_end_of_all(tmp_path_factory, lines, tail, ended):
    path = tmp_path_factory.mktemp("log") / "0.log"
    log = writer(path)
    for number, size in enumerate(lines):
        log.write(STDOUT, b"%d " % number + b"x" * size + b"\n")
    if not ended:
        log.write(STDOUT, b"end")
    log.flush()
    # with a bound that excludes nothing, every line is looked at before the last ones are taken
    assert content(path, tail=tail) == content(path, tail=tail, since=1)


def test_a_missing_log_has_no_lines(tmp_path):
    assert content(tmp_path / "none" / "0.log") == b""
    assert content(tmp_path / "none" / "0.log", tail=3) == b""


def test_X1_a_full_disk_tears_no_line(tmp_path, monkeypatch):
    log = writer(tmp_path / "0.log")
    log.write(STDOUT, b"before\n")
    real, room = os.write, [30]

    def small_disk(fd, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        count = real(fd, data[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr("os.write", small_disk)
    log.write(STDOUT, b"lost\n")
    monkeypatch.setattr("os.write", real)
    log.write(STDOUT, b"after\n")
    texts = [text for _, _, text in pieces(tmp_path / "0.log")]
    assert (texts[0], texts[-1], len(texts)) == (b"before", b"after", 3)
    assert b"bytes of the log were lost" in texts[1]


# -- where the file is


def test_the_folders_of_the_log_are_made(tmp_path):
    path = tmp_path / "pods" / "p1" / "c" / "0.log"
    os.close(open_log(container(path, tmp_path / "pods" / "p1")))
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["../../x", "../p2/0.log", "c/../../x", "", "../p1"])
def test_K7_a_path_out_of_the_log_folder_is_refused(tmp_path, name):
    folder = tmp_path / "p1"
    folder.mkdir()
    with pytest.raises(Invalid, match="not below"):
        open_log(container(f"{folder}/{name}".rstrip("/"), folder))
    assert os.listdir(tmp_path) == ["p1"]


def test_K7_no_link_leads_out_of_the_log_folder(tmp_path):
    folder, target = tmp_path / "p1", tmp_path / "target"
    folder.mkdir()
    target.mkdir()
    (target / "0.log").write_text("precious")
    (folder / "c").symlink_to(target)
    (folder / "0.log").symlink_to(target / "0.log")
    for name in ("c/0.log", "0.log", "c/new.log"):
        with pytest.raises(Invalid):
            os.close(open_log(container(folder / name, folder)))
    assert (target / "0.log").read_text() == "precious"
    assert os.listdir(target) == ["0.log"]


def test_K7_a_log_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "p1").symlink_to(tmp_path / "real")
    with pytest.raises(Invalid):
        open_log(container(tmp_path / "p1" / "0.log", tmp_path / "p1"))
    assert os.listdir(tmp_path / "real") == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_K7_what_is_no_file_takes_no_log(tmp_path, make):
    make(tmp_path / "0.log")
    with pytest.raises(Invalid):
        open_log(container(tmp_path / "0.log"))


def test_K7_a_relative_path_is_refused():
    with pytest.raises(Invalid, match="not below"):
        open_log(container("0.log"))


# -- containers


def test_a_container_writes_its_log_there_and_nowhere_else(world, tmp_path):
    path = tmp_path / "pods" / "c" / "0.log"
    entry, record = world.run("stderr", "hello", log_path=str(path), log_folder=str(tmp_path / "pods"))
    assert record.code == 0
    assert pieces(path) == [(b"stderr", b"F", b"hello")]
    assert has_log(entry)
    assert not os.path.exists(f"{entry.folder}/log.0")


def test_a_second_run_appends(world, tmp_path):
    entry = world.make("stderr", "again", log_path=str(tmp_path / "0.log"))
    for _ in range(2):
        reap(entry, world.roots, starting.start_here(entry, world.roots, stdio.CAPTURE))
    assert pieces(tmp_path / "0.log") == [(b"stderr", b"F", b"again")] * 2


def test_a_beginning_without_its_rest_is_written_while_it_runs(world, tmp_path):
    path = tmp_path / "0.log"
    entry = world.start("stdin", keep_stdin=True, log_path=str(path))
    connection = attach(entry)
    connection.send(control.STDIN + b"name? ")
    until(lambda: pieces(path))
    assert pieces(path) == [(b"stdout", b"P", b"name? ")]
    connection.send(control.STDIN + b"sampan\n")
    connection.send(control.STDIN_END)
    assert collect(connection)[1]["code"] == 0
    connection.close()
    assert pieces(path)[1:] == [(b"stdout", b"F", b"sampan")]


def test_what_was_begun_is_written_when_it_is_stopped(world, tmp_path):
    path = tmp_path / "0.log"
    entry = world.start("stdin", keep_stdin=True, log_path=str(path))
    connection = attach(entry)
    connection.send(control.STDIN + b"half a li")
    assert control.receive(connection)[0] == control.STDOUT + b"half a li"
    connection.close()
    ending.stop(entry, world.roots, 15, 5)
    assert content(path) == b"half a li"


def test_F27_no_line_is_lost_or_torn_by_rotations(world, tmp_path):
    path, size = tmp_path / "0.log", 48 << 20
    entry = world.start("flood", str(size), log_path=str(path))
    rotated = []
    while entry.is_alive() and len(rotated) < 8:
        if path.stat().st_size > 1 << 20:
            rotated.append(tmp_path / f"0.log.{len(rotated)}")
            os.rename(path, rotated[-1])
            try:
                reopen(entry)
            except SampanError:  # it ended first
                break
    assert ending.wait(entry, 60).code == 0
    assert len(rotated) > 1
    found = pieces(*rotated, *([path] if path.exists() else []))
    assert {tag for _, tag, _ in found} == {b"F"}
    assert {text for _, _, text in found} == {b"x" * 4095}
    assert sum(len(text) + 1 for _, _, text in found) == size


def test_X10_a_log_folder_that_is_gone_is_made_again(world, tmp_path):
    path = tmp_path / "pod" / "0.log"
    entry = world.start("tick", "100000", "10", log_path=str(path))
    shutil.rmtree(path.parent)
    reopen(entry)
    until(lambda: path.stat().st_size)
    assert ending.stop(entry, world.roots, 15, 5).code == 143
    assert {tag for _, tag, _ in pieces(path)} == {b"F"}


def test_reopening_what_has_no_such_file_or_does_not_run(world, tmp_path):
    own = world.start("sleep", "100")
    with pytest.raises(Precondition, match="no log file"):
        reopen(own)
    fd = os.open(tmp_path / "x", os.O_CREAT | os.O_WRONLY)
    answer, _ = control.ask(own.folder, {"do": "reopen"}, 10, [fd])
    os.close(fd)
    assert answer == {"error": "it takes no file for its log"}
    done, _ = world.run("exit", "0", log_path=str(tmp_path / "0.log"))
    with pytest.raises(Precondition, match="not running"):
        reopen(done)


def test_descriptors_that_nobody_wants_are_closed(world, tmp_path):
    entry = world.start("tick", "1000", "100", log_path=str(tmp_path / "0.log"))
    until(lambda: pieces(tmp_path / "0.log"))  # it has opened all that it needs

    def count():
        return len(os.listdir(f"/proc/{entry.running.pid}/fd"))

    before = count()
    fd = os.open("/dev/null", os.O_RDONLY)
    for request in ({"do": "ports"}, {"do": "reopen"}, {"do": "nothing"}):
        control.ask(entry.folder, request, 10, [fd, fd, fd])
    os.close(fd)
    reopen(entry)
    until(lambda: count() == before)


def test_one_with_a_terminal_logs_as_stdout(world, tmp_path):
    path = tmp_path / "0.log"
    world.run("stderr", "hello", terminal=True, log_path=str(path))
    assert pieces(path) == [(b"stdout", b"F", b"hello\r")]


@pytest.mark.skipif(os.geteuid() != 0 or not (RUNC and BUSYBOX), reason="needs root, runc and busybox")
def test_a_linux_container_does_the_same(world, linux, tmp_path):  # noqa: F811 - the fixture
    path = tmp_path / "0.log"
    script = "echo out; echo err >&2; while ! [ -e /go ]; do /bin/busybox sleep 0.01; done; echo after"
    entry = linux(*shell(script), log_path=str(path))
    starting.start(entry, world.roots)
    until(lambda: len(pieces(path)) == 2)
    assert sorted(pieces(path)) == [(b"stderr", b"F", b"err"), (b"stdout", b"F", b"out")]
    os.rename(path, f"{path}.1")
    reopen(entry)
    pathlib.Path(f"/proc/{entry.running.linux_pid}/root/go").touch()
    assert ending.wait(entry, 20).code == 0
    assert pieces(path) == [(b"stdout", b"F", b"after")]


def test_a_start_whose_log_cannot_be_written_fails_with_the_reason(world, tmp_path):
    (tmp_path / "0.log").mkdir()
    entry = world.make("exit", "0", log_path=str(tmp_path / "0.log"))
    with pytest.raises(SampanError, match=r"0\.log"):
        starting.start(entry, world.roots)
