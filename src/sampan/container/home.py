"""HOME, as runc gives it: where the spec's environment has none, what the image's /etc/passwd says of the user."""

from __future__ import annotations

from sampan.core.errors import SampanError
from sampan.linux.paths import open_regular_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Process

MAX_FILE = 1 << 20
PASSWD, FIELDS = "etc/passwd", 7


def with_home(process: Process, root: int) -> list[str]:
    """The environment of a process, with HOME in it: `/` where nobody says better.

    Args:
        root: a descriptor of the root filesystem.
    """
    if any(entry.startswith("HOME=") for entry in process.env):
        return process.env
    return [*process.env, f"HOME={_home_of(process.user.uid if process.user else 0, root)}"]


def _home_of(uid: int, root: int) -> str:
    try:
        fd = open_regular_in_root(root, PASSWD)
    except SampanError:  # there is none, or one that nobody can read
        return "/"
    with open(fd, "rb") as file:
        lines = file.read(MAX_FILE).decode(errors="replace").splitlines()
    for line in lines:
        fields = line.split(":")
        if len(fields) == FIELDS and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"
