"""The words of a mount's `options`, sorted by who acts on them. OCI config.md, "Mounts"; mount(8)

A word is an attribute of the mount, a change of its propagation, one of the few that say how to mount, or else
the file system's own (`size=64k`), which is passed on unread. Attributes are those of mount_setattr(2): what no
word names stays as it is at the source, so a bind of a `nosuid` mount is `nosuid`. Nothing is mounted here.
"""

from __future__ import annotations

from sampan.core.errors import Unimplemented
from sampan.core.record import Record

RDONLY, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8
NOATIME, STRICTATIME, ATIME_FIELD, NODIRATIME = 0x10, 0x20, 0x70, 0x80
NOSYMFOLLOW = 0x200000
RECURSIVE = 0x4000  # MS_REC

# word: (attributes set, attributes cleared); with an `r` before it, the same for all mounts below
_ATTRIBUTES = {
    "ro": (RDONLY, 0),
    "rw": (0, RDONLY),
    "nosuid": (NOSUID, 0),
    "suid": (0, NOSUID),
    "nodev": (NODEV, 0),
    "dev": (0, NODEV),
    "noexec": (NOEXEC, 0),
    "exec": (0, NOEXEC),
    "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "symfollow": (0, NOSYMFOLLOW),
    # When access times are written is one field of three values; 0 is relatime, the kernel's default.
    "noatime": (NOATIME, ATIME_FIELD),
    "atime": (0, NOATIME),
    "strictatime": (STRICTATIME, ATIME_FIELD),
    "nostrictatime": (0, STRICTATIME),
    "relatime": (0, ATIME_FIELD),
    "norelatime": (0, 0),
}

_UNBINDABLE, _PRIVATE, _SLAVE, _SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
PROPAGATION = {
    "unbindable": _UNBINDABLE,
    "private": _PRIVATE,
    "slave": _SLAVE,
    "shared": _SHARED,
    "runbindable": _UNBINDABLE | RECURSIVE,
    "rprivate": _PRIVATE | RECURSIVE,
    "rslave": _SLAVE | RECURSIVE,
    "rshared": _SHARED | RECURSIVE,
}
"""Words of propagation: the MS_ flag, with MS_REC for the recursive ones."""

_EMPTY = ("", "defaults", "loud", "silent")
_OF_SUPERBLOCKS = (
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "lazytime",
    "nolazytime",
    "acl",
    "noacl",
    "iversion",
)
WORDS = frozenset(
    (*_ATTRIBUTES, *(f"r{word}" for word in _ATTRIBUTES), *PROPAGATION, *_EMPTY[1:], *_OF_SUPERBLOCKS)
) | {"bind", "rbind", "remount", "tmpcopyup"}
"""Every word that is known, but for those of one file system alone."""


class MountOptions(Record):
    """What a list of words comes to.

    Attributes:
        set, clear: attributes of the mount, MOUNT_ATTR_ bits; cleared first, then set.
        recursive_set, recursive_clear: the same for the mount and all below it.
        propagation: values of `PROPAGATION`, in order. data: the file system's own words.
        bind, recursive, remount: how to mount. copy_up: a tmpfs starts with what the folder holds.
    """

    set: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: list[int] = []
    data: list[str] = []
    bind: bool = False
    recursive: bool = False
    remount: bool = False
    copy_up: bool = False

    @property
    def read_only(self) -> bool:
        return bool(self.set & RDONLY)


def parse(options: list[str]) -> MountOptions:
    """Sort the words; of two that contradict each other the later one counts.

    Raises:
        Unimplemented: `idmap` or `ridmap`.
    """
    parsed = MountOptions()
    for word in options:
        if word in _ATTRIBUTES:
            parsed.set, parsed.clear = _changed(parsed.set, parsed.clear, word)
        elif word in PROPAGATION:
            parsed.propagation.append(PROPAGATION[word])
        elif word in ("bind", "rbind"):
            parsed.bind, parsed.recursive = True, parsed.recursive or word == "rbind"
        elif word[:1] == "r" and word[1:] in _ATTRIBUTES:
            deep = _changed(parsed.recursive_set, parsed.recursive_clear, word[1:])
            parsed.recursive_set, parsed.recursive_clear = deep
        elif word == "remount":
            parsed.remount = True
        elif word == "tmpcopyup":
            parsed.copy_up = True
        elif word in ("idmap", "ridmap"):
            raise Unimplemented(
                f"the mount option {word!r} is not to be had", fix="give the files to the container's user"
            )
        elif word not in _EMPTY:
            parsed.data.append(word)
    return parsed


def _changed(have: int, cleared: int, word: str) -> tuple[int, int]:
    setting, clearing = _ATTRIBUTES[word]
    have = have & ~clearing | setting
    cleared = cleared & ~setting | clearing
    if (have | cleared) & ATIME_FIELD:
        cleared |= ATIME_FIELD  # the kernel changes the field as a whole or not at all
    return have, cleared
