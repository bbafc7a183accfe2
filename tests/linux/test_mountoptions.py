"""The words of mount options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import lists, sampled_from, text

from sampan.core.errors import Unimplemented
from sampan.linux.mountoptions import (
    ATIME_FIELD,
    NOATIME,
    NODEV,
    NODIRATIME,
    NOEXEC,
    NOSUID,
    NOSYMFOLLOW,
    PROPAGATION,
    RDONLY,
    STRICTATIME,
    MountOptions,
    parse,
)

WORDS = [
    "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "nodiratime", "diratime", "nosymfollow",
    "symfollow", "noatime", "atime", "strictatime", "nostrictatime", "relatime", "norelatime",
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), [
    ("", {}),
    ("defaults", {}),
    ("ro", {"set": RDONLY}),
    ("rw", {"clear": RDONLY}),
    ("ro rw", {"clear": RDONLY}),
    ("rw ro", {"set": RDONLY}),
    ("nosuid nodev noexec nodiratime nosymfollow", {"set": NOSUID | NODEV | NOEXEC | NODIRATIME | NOSYMFOLLOW}),
    ("suid dev exec diratime symfollow", {"clear": NOSUID | NODEV | NOEXEC | NODIRATIME | NOSYMFOLLOW}),
    ("noatime", {"set": NOATIME, "clear": ATIME_FIELD}),
    ("noatime strictatime", {"set": STRICTATIME, "clear": ATIME_FIELD}),
    ("noatime relatime", {"clear": ATIME_FIELD}),
    ("noatime norelatime", {"set": NOATIME, "clear": ATIME_FIELD}),
    ("noatime nostrictatime", {"set": NOATIME, "clear": ATIME_FIELD}),
    ("atime", {"clear": ATIME_FIELD}),
    ("rro rnosuid", {"recursive_set": RDONLY | NOSUID}),
    ("rro rrw", {"recursive_clear": RDONLY}),
    ("ro rrw", {"set": RDONLY, "recursive_clear": RDONLY}),
    ("rnoatime", {"recursive_set": NOATIME, "recursive_clear": ATIME_FIELD}),
    ("rrelatime", {"recursive_clear": ATIME_FIELD}),
    ("bind", {"bind": True}),
    ("rbind", {"bind": True, "recursive": True}),
    ("rbind bind", {"bind": True, "recursive": True}),
    ("remount", {"remount": True}),
    ("tmpcopyup", {"copy_up": True}),
    ("rslave shared", {"propagation": [PROPAGATION["rslave"], PROPAGATION["shared"]]}),
    ("size=64k mode=1777 sync lazytime", {"data": ["size=64k", "mode=1777", "sync", "lazytime"]}),
    ("RO r", {"data": ["RO", "r"]}),
])  # fmt: skip
def test_words(words, expected):
    assert parse(words.split()) == MountOptions(**expected)


@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_maps_of_ids_are_refused_by_name(word):
    with pytest.raises(Unimplemented, match=repr(word)):
        parse(["bind", word])


def test_what_one_call_reads_does_not_stay_for_the_next():
    parse(["shared", "size=1k"])
    assert parse([]) == MountOptions()


@given(lists(sampled_from([*WORDS, *(f"r{word}" for word in WORDS)])))
def test_any_order_gives_what_the_kernel_takes(words):
    """mount_setattr(2) refuses a part of the atime field, and two values of it."""
    parsed = parse(words)
    pairs = ((parsed.set, parsed.clear), (parsed.recursive_set, parsed.recursive_clear))
    for setting, clearing in pairs:
        assert (setting & clearing) & ~ATIME_FIELD == 0
        assert setting & ATIME_FIELD in (0, NOATIME, STRICTATIME)
        assert clearing & ATIME_FIELD in (0, ATIME_FIELD)
        assert not setting & ATIME_FIELD or clearing & ATIME_FIELD
    assert parsed.data == []


@given(lists(text(alphabet="abcnor=,;é\0 ", max_size=6)))
def test_every_word_is_known_or_the_file_systems_own(words):
    parsed = parse(words)
    assert parsed.data == [word for word in words if word not in ("", "ro", "rro")]
    assert parsed.read_only == ("ro" in words)
