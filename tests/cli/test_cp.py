"""`sampan cp` with real containers, running and stopped, and tar streams from strangers."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from .conftest import Harbour, Terminal

NAME = "boat"
TOOL = "/toolbox.wasm"


@pytest.fixture(params=["running", "created"])
def boat(request: pytest.FixtureRequest, harbour: Harbour) -> Harbour:
    """A harbour with one container that runs, or does not yet."""
    if request.param == "running":
        harbour.start(NAME, "sleep", "100")
    else:
        harbour.ok("create", "--name", NAME, harbour.image(), "sleep", "100")
    return harbour


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for header, data in members:
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode = kind, link, 0o755
    return header


def names_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def raw(harbour: Harbour, *words: str, stdin: bytes = b"") -> bytes:
    """Bytes of standard output."""
    out, err = harbour.spawn(*words).communicate(stdin)
    assert err == b""
    return out


def test_a_file_in_and_out_again(boat: Harbour) -> None:
    data = os.urandom(300_000)
    (boat.folder / "file").write_bytes(data)
    assert boat.ok("cp", "file", f"{NAME}:/copied") == ""
    boat.ok("cp", f"{NAME}:copied", "back")
    assert (boat.folder / "back").read_bytes() == data


def test_a_folder_in_and_out_again(boat: Harbour) -> None:
    (boat.folder / "tree" / "sub").mkdir(parents=True)
    (boat.folder / "tree" / "sub" / "file").write_text("deep")
    (boat.folder / "tree" / "link").symlink_to("/etc/passwd")
    boat.ok("cp", "tree", f"{NAME}:/")
    boat.ok("cp", f"{NAME}:/tree/.", "out")
    assert (boat.folder / "out" / "sub" / "file").read_text() == "deep"
    assert os.readlink(boat.folder / "out" / "link") == "/etc/passwd"


def test_the_workload_sees_what_was_copied_and_its_files_come_out(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100")
    (harbour.folder / "note").write_text("from the host")
    harbour.ok("cp", "./note", f"{NAME}:/")
    assert harbour.ok("exec", NAME, TOOL, "cat", "/note") == "from the host"
    harbour.ok("exec", NAME, TOOL, "write", "/answer", "from the guest")
    harbour.ok("cp", f"{NAME}:/answer", ".")
    assert (harbour.folder / "answer").read_text() == "from the guest"
    snapshots = harbour.folder / "data" / "images" / "snapshots"
    assert not list(snapshots.rglob("note")), "the image stays as it is"


def test_mounts_are_part_of_the_files(harbour: Harbour) -> None:
    (harbour.folder / "shared").mkdir()
    (harbour.folder / "shared" / "one").write_text("1")
    harbour.start(NAME, "sleep", "100", flags=("-v", f"{harbour.folder}/shared:/data", "--read-only"))
    harbour.ok("cp", f"{NAME}:/data/one", "out")
    harbour.ok("cp", "out", f"{NAME}:/data/two")
    assert (harbour.folder / "shared" / "two").read_text() == "1"
    done = harbour("cp", "out", f"{NAME}:/two")
    assert (done.returncode, "(DENIED)" in done.stderr) == (1, True)


def test_streams_of_tar(boat: Harbour) -> None:
    boat.ok("cp", "-", f"{NAME}:/", stdin=archive((member("a/one"), b"1"), (member("two"), b"2")))
    assert names_in(raw(boat, "cp", f"{NAME}:/a", "-")) == ["a", "a/one"]
    assert names_in(raw(boat, "cp", f"{NAME}:/a/.", "-")) == [".", "./one"]
    assert names_in(raw(boat, "cp", f"{NAME}:two", "-")) == ["two"]
    packed = raw(boat, "cp", f"{NAME}:/a", "-")
    import gzip

    boat.ok("cp", "-", f"{NAME}:/a", stdin=gzip.compress(packed))
    boat.ok("cp", f"{NAME}:/a/a/one", "deep")
    assert (boat.folder / "deep").read_text() == "1"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([(member("../out"), b"x")], "leads upwards"),
        ([(member("a/../../out"), b"x")], "leads upwards"),
        ([(member("dev", tarfile.CHRTYPE), b"")], "device node"),
        ([(member("hard", tarfile.LNKTYPE, "../../etc/passwd"), b"")], "leads upwards"),
        ([(member("hard", tarfile.LNKTYPE, "absent"), b"")], "leads to no regular file"),
        ([(member(TOOL, tarfile.DIRTYPE), b"")], "is a folder and is not one there"),
        ([(member("l", tarfile.SYMTYPE, "l"), b""), (member("l/x"), b"x")], "the archive's folder"),
    ],
)
def test_L1_L4_L5_L6_a_hostile_tar_is_refused(
    harbour: Harbour, members: list[tuple[tarfile.TarInfo, bytes]], said: str
) -> None:
    harbour.start(NAME, "sleep", "100")
    done = harbour("cp", "-", f"{NAME}:/", stdin=archive(*members))
    assert done.returncode == 1
    assert said in done.stderr
    assert harbour.ok("exec", NAME, TOOL, "ls", "/").split()[-1] == "toolbox.wasm"


def test_L2_L7_absolute_names_stay_in_the_folder_and_pipes_are_left_out(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100")
    harbour.ok("cp", "-", f"{NAME}:/", stdin=archive((member("in", tarfile.DIRTYPE), b"")))
    data = archive((member("/absolute"), b"1"), (member("pipe", tarfile.FIFOTYPE), b""))
    done = harbour("cp", "-", f"{NAME}:/in", stdin=data)
    assert (done.returncode, done.stderr) == (0, "warning: the FIFO b'pipe' was left out\n")
    assert harbour.ok("exec", NAME, TOOL, "ls", "/in") == "absolute\n"
    assert harbour.ok("exec", NAME, TOOL, "ls", "/") == "in\ntoolbox.wasm\n"


def test_L3_a_link_of_a_tar_leads_nowhere_on_the_host(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100")
    victim = harbour.folder / "victim"
    victim.mkdir()
    data = archive((member("way", tarfile.SYMTYPE, str(victim)), b""), (member("way/file"), b"2"))
    done = harbour("cp", "-", f"{NAME}:/", stdin=data)
    assert (done.returncode, "(INVALID)" in done.stderr) == (1, True)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"\0" * 1024, b"x" * 512, b"\x1f\x8b" + b"x" * 100])
def test_junk_on_the_stream_is_an_error_or_nothing(harbour: Harbour, data: bytes) -> None:
    harbour.start(NAME, "sleep", "100")
    done = harbour("cp", "-", f"{NAME}:/", stdin=data)
    assert done.returncode == (0 if not data.strip(b"\0") else 1)
    assert harbour.ok("exec", NAME, TOOL, "ls", "/") == "toolbox.wasm\n"


def test_CVE_2022_23648_links_of_a_container_never_reach_the_host(harbour: Harbour) -> None:
    harbour.start(NAME, "sleep", "100")
    secret = harbour.folder / "secret"
    secret.write_text("of the host")
    data = archive(
        (member("abs", tarfile.SYMTYPE, str(secret)), b""),
        (member("up", tarfile.SYMTYPE, "../../../../../../../.." + str(secret)), b""),
        (member("magic", tarfile.SYMTYPE, "/proc/self/root" + str(secret)), b""),
    )
    harbour.ok("cp", "-", f"{NAME}:/", stdin=data)
    for name in ("abs", "up", "magic"):
        done = harbour("cp", "-L", f"{NAME}:/{name}", "stolen")
        assert (done.returncode, "(NOT_FOUND)" in done.stderr) == (1, True)
        (harbour.folder / "new").write_text("overwritten")
        assert harbour("cp", "new", f"{NAME}:/{name}").returncode == 1
    assert secret.read_text() == "of the host"
    assert not (harbour.folder / "stolen").exists()


def test_owners(harbour: Harbour) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    harbour.start(NAME, "sleep", "100")
    (harbour.folder / "file").write_text("x")
    os.chown(harbour.folder / "file", 1234, 1234)
    harbour.ok("cp", "file", f"{NAME}:/plain")
    harbour.ok("cp", "-a", "file", f"{NAME}:/kept")
    for flags, name, owner in ((["-a"], "plain", 0), (["-a"], "kept", 1234), ([], "kept", 0)):
        harbour.ok("cp", *flags, f"{NAME}:/{name}", "out")
        assert (harbour.folder / "out").stat().st_uid == owner


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "b"], "one side must be a container"),
        (["x:a", "y:b"], "one side must be a container"),
        (["absent:/a", "b"], "no such container"),
        ([f"{NAME}:", "b"], "names no path in the container"),
        ([f"{NAME}:/absent", "b"], "is not there"),
        (["absent", f"{NAME}:/"], "is not there"),
        (["file", f"{NAME}:/no/such/place"], "is not there"),
        (["file", f"{NAME}:/nowhere/"], "no such folder to copy into"),
        (["./c:file", f"{NAME}:/"], "is not there"),
    ],
)
def test_cp_says_why_not(harbour: Harbour, words: list[str], said: str) -> None:
    harbour.ok("create", "--name", NAME, harbour.image())
    (harbour.folder / "file").write_text("x")
    done = harbour("cp", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_plain_file_has_no_files_to_copy(harbour: Harbour) -> None:
    harbour.start_file(NAME, "sleep", "100")
    done = harbour("cp", f"{NAME}:/x", ".")
    assert (done.returncode, "runs a plain file" in done.stderr) == (1, True)


def test_at_a_terminal_it_says_what_was_copied(harbour: Harbour) -> None:
    harbour.ok("create", "--name", NAME, harbour.image())
    (harbour.folder / "file").write_bytes(bytes(2000))
    for flags, said in (((), True), (("-q",), False)):
        terminal = Terminal(harbour, "cp", *flags, "file", f"{NAME}:/")
        assert terminal.end() == 0
        assert (b"Successfully copied 2kB to boat:/" in terminal.shown) is said
    terminal = Terminal(harbour, "cp", f"{NAME}:/file", "-")
    assert terminal.end() == 1
    assert b"not written to a terminal" in terminal.shown
