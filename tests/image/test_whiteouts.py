"""Whiteouts have one reading, whoever applies them."""

import pytest

from sampan.core.errors import Invalid
from sampan.image import tar
from sampan.image.whiteouts import hidden_name, is_whiteout


def entry(name, kind=tar.FILE):
    made = tar.Entry()
    made.name, made.kind = name, kind
    return made, name.split(b"/")


@pytest.mark.parametrize(
    ("name", "hidden"),
    [(b".wh.a", b"a"), (b"d/.wh..a", b".a"), (b".wh..wh..opq", b""), (b"d/.wh..wh..opq", b"")],
)
def test_what_a_whiteout_takes_away(name, hidden):
    assert is_whiteout(*entry(name))
    assert hidden_name(*entry(name)) == hidden


@pytest.mark.parametrize("name", [b"a", b"a.wh.", b"d/wh.a", b".w", b""])
def test_other_entries_take_nothing_away(name):
    assert not is_whiteout(*entry(name))


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b".wh..wh.plnk", b"d/.wh..wh."])
def test_L8_whiteouts_that_name_nothing_are_refused(name):
    with pytest.raises(Invalid, match="names nothing"):
        hidden_name(*entry(name))


def test_L8_a_whiteout_that_is_a_folder_is_refused():
    with pytest.raises(Invalid, match="names nothing"):
        hidden_name(*entry(b".wh.a", tar.DIRECTORY))


@pytest.mark.parametrize("name", [b".wh.a/b", b".wh..wh..opq/x", b"d/.wh.a/b/.wh.c"])
def test_L8_entries_below_a_whiteout_are_refused(name):
    with pytest.raises(Invalid, match="below a whiteout"):
        is_whiteout(*entry(name))
