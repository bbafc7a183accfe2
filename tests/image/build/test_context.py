"""What a build may read of its folder."""

from __future__ import annotations

import pytest

from sampan.core.errors import Invalid, NotFound, Precondition
from sampan.image.build.context import Context, below, find
from sampan.image.build.ignore import Ignore


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "context"
    (root / "d" / "e").mkdir(parents=True)
    (root / "a").write_text("a")
    (root / "d" / "b").write_text("b")
    (root / "d" / "e" / "c").write_text("c")
    (root / "to-d").symlink_to("d")
    (root / "to-a").symlink_to("to-d/../a")
    (root / "loop").symlink_to("loop")
    (tmp_path / "outside").write_text("host")
    (root / "out").symlink_to("../outside")
    (root / "etc").symlink_to("/")
    return root


def names(folder, pattern):
    with Context(str(folder)) as context:
        return [e.path for e in find(context, pattern)]


def test_names_and_patterns(folder):
    assert names(folder, "a") == ["a"]
    assert names(folder, "/d/./b") == ["d/b"]
    assert names(folder, "d/*") == ["d/b", "d/e"]
    assert names(folder, "*/b") == ["d/b", "to-d/b"]
    assert names(folder, "../../d/b") == ["d/b"]


def test_a_named_link_is_followed_within_the_folder(folder):
    with Context(str(folder)) as context:
        (entry,) = find(context, "to-a")
        assert (entry.path, entry.kind, entry.read()) == ("to-a", "file", b"a")


@pytest.mark.parametrize("pattern", ["missing", "x*", "a/b", "out", "etc/passwd", "loop"])
def test_what_is_not_in_the_folder_is_not_found(folder, pattern):
    with pytest.raises(NotFound):
        names(folder, pattern)


def test_below_keeps_links_and_leaves_out(folder):
    with Context(str(folder)) as context:
        context.ignore = Ignore("d\n!d/e/c\nout\netc\nloop")
        found = {e.path: e.kind for e in below(context, "")}
    assert found == {"a": "file", "d/e/c": "file", "to-a": "link", "to-d": "link"}


def test_a_file_that_changes_during_the_build_is_refused(folder):
    with Context(str(folder)) as context:
        (entry,) = find(context, "a")
        (folder / "a").write_text("longer")
        with pytest.raises(Precondition, match="changed"):
            entry.read()


def test_text_files_are_small_and_utf8(folder):
    (folder / "latin").write_bytes(b"\xe4")
    (folder / "large").write_bytes(b"x" * ((1 << 20) + 1))
    with Context(str(folder)) as context:
        assert context.read_text("a") == "a"
        for name in ("latin", "large"):
            with pytest.raises(Invalid):
                context.read_text(name)
