"""Trees of entries: layers applied in order, whiteouts, links resolved inside."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import DataLoss, Invalid
from sampan.image.entries import Entry, Tree, entry_path, read_tar


def tar_of(*members):
    """A tar of (name, content) files, (name/, None) folders and (name, ("->"|"=>", target)) links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            data = b""
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, tuple):
                member.type = tarfile.SYMTYPE if content[0] == "->" else tarfile.LNKTYPE
                member.linkname = content[1]
            else:
                data = content
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return io.BytesIO(out.getvalue())


def tree_of(*layers):
    tree = Tree()
    for layer in layers:
        read_tar(tar_of(*layer), tree)
    return tree


def test_later_layers_win_and_folders_keep_their_content():
    tree = tree_of([("d/a", b"1"), ("d/b", b"2")], [("d/", None), ("d/a", b"3")])
    assert {p: e.read() for p, e in tree.entries.items() if e.kind == "file"} == {"d/a": b"3", "d/b": b"2"}


def test_L17_a_file_takes_a_folders_place_and_back():
    assert list(tree_of([("d/a", b"1")], [("d", b"2")]).entries) == ["d"]
    assert sorted(tree_of([("d", b"1")], [("d/a", b"2")]).entries) == ["d", "d/a"]


def test_whiteouts():
    base = [("d/a", b"1"), ("d/b", b"2"), ("e", b"3")]
    assert sorted(tree_of(base, [("d/.wh.a", b"")]).entries) == ["d", "d/b", "e"]
    assert sorted(tree_of(base, [(".wh.d", b"")]).entries) == ["e"]
    assert sorted(tree_of(base, [("d/.wh..wh..opq", b""), ("d/c", b"")]).entries) == ["d", "d/c", "e"]


@pytest.mark.parametrize("order", [1, -1])
def test_L10_a_whiteout_does_not_hide_its_own_layer(order):
    layer = [(".wh.d", b""), ("d/c", b"new")][::order]
    assert sorted(tree_of([("d/a", b"1")], layer).entries) == ["d", "d/c"]


@pytest.mark.parametrize("name", [".wh.", ".wh...", ".wh..wh.x", "d/.wh...", ".wh.d/x"])
def test_L8_whiteouts_that_name_nothing_are_refused(name):
    with pytest.raises(Invalid, match=r"whiteout|leads out"):
        tree_of([(name, b"")])


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/.."])
def test_L1_names_that_lead_out_are_refused(name):
    with pytest.raises(Invalid, match="leads out"):
        tree_of([(name, b"")])


def test_L2_absolute_names_are_inside():
    assert list(tree_of([("/etc/x", b"")]).entries) == ["etc", "etc/x"]
    assert entry_path("./a//b/") == "a/b"


def test_hard_links_are_copies_and_need_a_target():
    assert tree_of([("a", b"1"), ("b", ("=>", "a"))]).entries["b"].read() == b"1"
    for target in ("missing", "../../etc/shadow"):
        with pytest.raises(Invalid):
            tree_of([("b", ("=>", target))])


def test_links_are_resolved_inside():
    tree = tree_of([("a/b/", None), ("l", ("->", "/a/b")), ("m", ("->", "../../l/../x")), ("n", ("->", "n"))])
    assert tree.resolve("/l/f") == "a/b/f"
    assert tree.resolve("m") == "a/x"
    assert tree.resolve("../../../etc") == "etc"
    with pytest.raises(Invalid, match="links"):
        tree.resolve("n")


@pytest.mark.parametrize("uid", [2**31, 2**32 - 1, -1])
def test_L19_users_that_cannot_be_are_refused(uid):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo("a")
        member.uid = uid
        tar.addfile(member)
    with pytest.raises(Invalid, match="who cannot be"):
        read_tar(io.BytesIO(out.getvalue()), Tree())


def test_a_tar_that_ends_early_is_refused():
    data = tar_of(("a", b"x" * 5000)).getvalue()
    with pytest.raises(DataLoss):
        tree = Tree()
        read_tar(io.BytesIO(data[:2000]), tree)
        tree.entries["a"].read()


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(st.sampled_from(["add", "dir", "remove", "clear"]), paths)))
def test_a_tree_is_always_whole(steps):
    tree = Tree()
    for what, path in steps:
        if what == "remove":
            tree.remove(path)
        elif what == "clear":
            tree.clear(path)
        else:
            tree.add(Entry(path, "dir" if what == "dir" else "file"))
        assert sorted(e.path for e in tree.walk("")) == sorted(tree.entries)
        for entry in tree.entries.values():
            parent = entry.path.rpartition("/")[0]
            assert not parent or tree.entries[parent].kind == "dir"
