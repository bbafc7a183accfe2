"""Who a container's process is: `USER[:GROUP]` of a caller or an image, looked up in the image's own files."""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, NotFound
from sampan.core.spec.runtime import User
from sampan.linux.paths import open_regular_in_root

MAX_FILE = 1 << 20
MAX_ID = (1 << 31) - 1


def find_user(text: str, rootfs: str) -> User:
    """The user that `text` names.

    Args:
        text: `NAME`, `UID`, and either with `:GROUP` or `:GID`; "" is root.
        rootfs: the unpacked root filesystem with `/etc/passwd` and `/etc/group`, "" where there is none.

    Raises:
        Invalid: not such a text, or an id above 2^31-1. NotFound: a name that the files do not have.
    """
    name, colon, group = text.partition(":")
    if not text:
        return User()
    if not name or (colon and not group) or ":" in group:
        raise Invalid(f"{text[:60]!r} is not a user", fix="write it like 1000, 1000:1000 or name:group")
    uid, gid, user_name = _parse_id(name), 0, ""
    for fields in _read(rootfs, "etc/passwd", 7):
        if fields[0] == name or (uid is not None and fields[2] == str(uid)):
            user_name, uid, gid = fields[0], _parse_id(fields[2]), _parse_id(fields[3]) or 0
            break
    if uid is None:
        raise NotFound(f"the image has no user {name[:60]!r}", fix="give its number instead")
    groups = _read(rootfs, "etc/group", 4)
    if group:
        found = _parse_id(group)
        if found is None:
            found = next((_parse_id(f[2]) for f in groups if f[0] == group), None)
        if found is None:
            raise NotFound(f"the image has no group {group[:60]!r}", fix="give its number instead")
        return User(uid, found)
    more = [_parse_id(f[2]) for f in groups if user_name and user_name in f[3].split(",")]
    return User(uid, gid, additional_gids=[g for g in more if g is not None])


def groups_of(uid: int, rootfs: str) -> list[int]:
    """The groups that an image's files put a user into, beside its own."""
    passwd = _read(rootfs, "etc/passwd", 7)
    name = next((fields[0] for fields in passwd if fields[2] == str(uid)), "")
    more = [_parse_id(fields[2]) for fields in _read(rootfs, "etc/group", 4) if name in fields[3].split(",")]
    return [gid for gid in more if gid is not None] if name else []


def home_of(uid: int, rootfs: str) -> str:
    """The home folder that an image's files give a user; `/` where they do not know it."""
    found = (fields[5] for fields in _read(rootfs, "etc/passwd", 7) if fields[2] == str(uid))
    return next(found, "") or "/"


def _parse_id(text: str) -> int | None:
    """A plain decimal number; None for anything else, which then is a name."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > MAX_ID:
        raise Invalid(f"the id {text[:20]} is more than {MAX_ID}")
    return int(text)


def _read(rootfs: str, path: str, count: int) -> list[list[str]]:
    """The lines of a file like /etc/passwd, in fields; those with too few are left out."""
    if not rootfs:
        return []
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_regular_in_root(root, path)
    except (NotFound, Invalid):
        return []
    finally:
        os.close(root)
    with open(fd, "rb") as file:
        lines = file.read(MAX_FILE).decode(errors="replace").splitlines()
    return [fields for line in lines if len(fields := line.split(":")) >= count]
