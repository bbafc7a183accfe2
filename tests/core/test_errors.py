import errno

import pytest

from sampan.core import errors


def test_every_kind_has_one_class():
    assert len(errors.KINDS) == 12
    assert all(cls.kind == kind for kind, cls in errors.KINDS.items())


def test_W20_control_characters_are_escaped_and_the_text_is_bounded():
    text = str(errors.Invalid("a\x1b[31m\nb\0\udc80" + "x" * 5000, fix="c\r"))
    assert text.isprintable()
    assert len(text) == errors.MAX_TEXT


def test_the_fix_follows_the_message():
    assert str(errors.NotFound("no such image", fix="pull it")) == "no such image; pull it"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "EXHAUSTED"), (errno.EDQUOT, "EXHAUSTED"), (errno.EMFILE, "EXHAUSTED"),
        (errno.ENOMEM, "EXHAUSTED"),
        (errno.EAGAIN, "EXHAUSTED"), (errno.EROFS, "DENIED"), (errno.EACCES, "DENIED"), (errno.ENOENT, "NOT_FOUND"),
        (errno.EEXIST, "EXISTS"), (errno.EIO, "DATA_LOSS"), (errno.ELOOP, "INTERNAL"),
        (errno.EISDIR, "INVALID"), (errno.ENOTDIR, "INVALID"), (errno.ENAMETOOLONG, "INVALID"),
    ],
)  # fmt: skip
def test_X1_a_failed_system_call_has_a_kind(number, kind):
    error = errors.from_os_error(OSError(number, "why", b"/a/\xff"), "write the index")
    assert error.kind == kind
    assert str(error).startswith("cannot write the index: why (/a/")
