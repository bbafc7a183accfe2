"""Copies between two file systems: Docker's rules, and no way out of either for whatever is in them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.core.errors import Denied, Exhausted, NotFound, Precondition, SampanError
from sampan.doors.cli.copying import Copy, Place, Stream
from sampan.image.tar import TarReader

SECRET = b"of the host"


def root_of(folder: Path) -> int:
    return os.open(folder, os.O_PATH | os.O_DIRECTORY)


def copy(source: Path, path: str, target: Path, to: str, **wishes: bool) -> list[str]:
    """Copies `path` of the file system `source` to `to` of `target`; what was left out."""
    told: list[str] = []
    roots = root_of(source), root_of(target)
    try:
        run = Copy((os.geteuid(), os.getegid()), warn=told.append, **wishes)
        run.files(Place(roots[0], path), Place(roots[1], to))
    finally:
        for root in roots:
            os.close(root)
    return told


def tree(folder: Path) -> dict[str, object]:
    """What is in a folder: contents of files, targets of links, None for folders."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = None if path.is_dir() else path.read_bytes() if path.is_file() else "special"
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "dir" / "sub").mkdir(parents=True)
    (folder / "file").write_bytes(b"1")
    (folder / "dir" / "one").write_bytes(b"2")
    (folder / "dir" / "link").symlink_to("one")
    (folder / "way").symlink_to("dir")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    (folder / "there").mkdir(parents=True)
    (folder / "old").write_bytes(b"old")
    return folder


IN_DIR = {"sub": None, "one": b"2", "link": "-> one"}


def below(prefix: str) -> dict[str, object]:
    return {prefix: None, **{f"{prefix}/{name}": value for name, value in IN_DIR.items()}}


@pytest.mark.parametrize(
    ("path", "to", "made"),
    [
        ("/file", "/new", {"new": b"1"}),
        ("file", "new", {"new": b"1"}),
        ("/file", "/", {"file": b"1"}),
        ("/file", "/there", {"there/file": b"1"}),
        ("/file", "/there/", {"there/file": b"1"}),
        ("/file", "/old", {"old": b"1"}),
        ("/dir", "/new", below("new")),
        ("/dir", "/new/", below("new")),
        ("/dir/.", "/new", below("new")),
        ("/dir", "/there", below("there/dir")),
        ("/dir/.", "/there", {f"there/{name}": value for name, value in IN_DIR.items()}),
        ("/dir/", "/there/.", below("there/dir")),
        ("/way", "/new", {"new": "-> dir"}),
        ("/way/", "/new", below("new")),
        ("/way/one", "/there", {"there/one": b"2"}),
        ("/dir/sub/../one", "/there", {"there/one": b"2"}),
    ],
)
def test_what_a_path_means(source: Path, target: Path, path: str, to: str, made: dict[str, object]) -> None:
    before = tree(target)
    copy(source, path, target, to)
    assert tree(target) == before | made


@pytest.mark.parametrize(
    ("path", "to", "kind"),
    [
        ("/absent", "/new", NotFound),
        ("/file", "/absent/new", NotFound),
        ("/file", "/absent/", NotFound),
        ("/file/", "/new", SampanError),
        ("/dir", "/absent/new", NotFound),
        ("/dir", "/old", Precondition),
        ("/dir", "/fifo", Precondition),
        ("/file", "/fifo", Denied),
        ("/fifo", "/new", Denied),
        ("/loop", "/new/", SampanError),
    ],
)
def test_L7_what_cannot_be_copied_changes_nothing(
    source: Path, target: Path, path: str, to: str, kind: type[SampanError]
) -> None:
    os.mkfifo(source / "fifo")
    os.mkfifo(target / "fifo")
    (source / "loop").symlink_to("loop")
    before = tree(target)
    with pytest.raises(kind):
        copy(source, path, target, to)
    assert tree(target) == before


@pytest.mark.parametrize("follow", [False, True])
def test_a_link_at_the_end_is_followed_on_demand(source: Path, target: Path, follow: bool) -> None:
    copy(source, "/way", target, "/new", follow=follow)
    assert tree(target)["new"] == (None if follow else "-> dir")


def test_a_link_to_a_file_is_written_through_and_stays_in_its_root(source: Path, target: Path) -> None:
    (target / "absolute").symlink_to("/there/made")
    (target / "upwards").symlink_to("../../../old")
    copy(source, "/file", target, "/absolute")
    copy(source, "/file", target, "/upwards")
    found = tree(target)
    assert (found["there/made"], found["old"]) == (b"1", b"1")
    assert (found["absolute"], found["upwards"]) == ("-> /there/made", "-> ../../../old")


def test_a_folder_never_takes_the_place_of_a_file_nor_a_file_that_of_a_folder(
    source: Path, target: Path
) -> None:
    (target / "there" / "one").mkdir()
    (target / "there" / "one" / "precious").write_bytes(b"kept")
    with pytest.raises(Precondition, match="is no folder and is one there"):
        copy(source, "/dir/.", target, "/there")
    assert (target / "there" / "one" / "precious").read_bytes() == b"kept"
    (target / "sub").write_bytes(b"kept")
    with pytest.raises(Precondition, match="is a folder and is not one there"):
        copy(source, "/dir/.", target, "/")
    assert (target / "sub").read_bytes() == b"kept"


def test_folders_that_are_there_keep_their_mode_and_new_ones_get_theirs(source: Path, target: Path) -> None:
    (source / "dir").chmod(0o711)
    (source / "dir" / "sub").chmod(0o700)
    (source / "dir" / "one").chmod(0o4750)
    os.utime(source / "dir" / "sub", (1000, 1000))
    (target / "there").chmod(0o777)
    copy(source, "/dir/.", target, "/there")
    modes = [(target / name).stat().st_mode & 0o7777 for name in ("there", "there/sub", "there/one")]
    assert modes == [0o777, 0o700, 0o750]
    assert (target / "there" / "sub").stat().st_mtime == 1000


def test_L7_pipes_and_sockets_are_left_out_and_never_waited_for(source: Path, target: Path) -> None:
    os.mkfifo(source / "dir" / "pipe")
    told = copy(source, "/dir", target, "/new")
    assert tree(target / "new") == IN_DIR
    assert len(told) == 1 and "dir/pipe" not in tree(target) and "pipe was left out" in told[0]


def test_L6_devices_are_refused(source: Path, target: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a device")
    os.mknod(source / "dir" / "null", 0o20666, os.makedev(1, 3))
    with pytest.raises(Denied, match="device node"):
        copy(source, "/dir", target, "/new")
    with pytest.raises(Denied):
        copy(source, "/dir/null", target, "/new2")
    os.mknod(target / "null", 0o20666, os.makedev(1, 3))
    with pytest.raises(Denied, match="no regular file"):
        copy(source, "/file", target, "/null")


def test_a_tree_deeper_than_any_is_refused(source: Path, target: Path) -> None:
    folder = os.open(source / "dir", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    with pytest.raises(Exhausted, match="deeper"):
        copy(source, "/dir", target, "/new")


names = st.sampled_from(["a", "b", "c", "d"])
links = st.sampled_from(
    [
        "..",
        "../..",
        "../../outside",
        "../../outside/secret",
        "/",
        "/a/b",
        "a",
        ".",
        "OUTSIDE",
        "OUTSIDE/secret",
    ]
)
nodes = st.recursive(
    st.one_of(st.just(b"own"), links), lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12
)
paths = st.lists(st.sampled_from(["a", "b", "c", "d", "..", ".", ""]), min_size=1, max_size=4).map("/".join)


def plant(folder: Path, content: dict[str, object], outside: Path) -> None:
    for name, node in content.items():
        path = folder / name
        if isinstance(node, dict):
            path.mkdir()
            plant(path, node, outside)
        elif isinstance(node, bytes):
            path.write_bytes(node)
        else:
            path.symlink_to(str(node).replace("OUTSIDE", str(outside)))


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(names, nodes, min_size=1, max_size=4),
    st.dictionaries(names, nodes, max_size=4),
    paths,
    paths,
    st.booleans(),
)
def test_L1_L2_L3_L4_nothing_outside_is_read_or_written_whatever_the_links(
    one: dict[str, object], two: dict[str, object], path: str, to: str, follow: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        outside, source, target = (Path(name) / part for part in ("outside", "source", "target"))
        for folder in (outside, source, target):
            folder.mkdir()
        (outside / "secret").write_bytes(SECRET)
        plant(source, one, outside)
        plant(target, two, outside)
        before = tree(source)
        try:
            copy(source, path, target, to, follow=follow)
        except SampanError:
            pass
        assert tree(outside) == {"secret": SECRET}
        assert tree(source) == before
        assert SECRET not in [p.read_bytes() for p in target.rglob("*") if p.is_file() and not p.is_symlink()]
        assert sorted(p.name for p in Path(name).iterdir()) == ["outside", "source", "target"]


@given(st.lists(st.binary(max_size=700), max_size=8), st.lists(st.integers(0, 900), max_size=12))
def test_a_stream_gives_the_same_bytes_whatever_its_pieces(pieces: list[bytes], sizes: list[int]) -> None:
    data, stream, at = b"".join(pieces), Stream(iter(pieces)), 0
    for number, size in enumerate(sizes):
        if number % 3 == 2:
            assert stream.skip(size) == len(data[at : at + size])
        else:
            assert stream.read(size) == data[at : at + size]
        at += size


def test_the_end_of_a_stream_is_no_entry() -> None:
    assert list(TarReader(Stream(iter([])))) == []
