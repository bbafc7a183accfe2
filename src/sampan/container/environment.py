"""The environment that a workload is given: the spec's, with what every program may count on."""

from __future__ import annotations

from sampan.core.errors import SampanError
from sampan.linux.paths import open_regular_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Process

MAX_FILE = 1 << 20
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD, FIELDS = "etc/passwd", 7


def merge(*environments: list[str]) -> list[str]:
    """Environments in order, each name once, the last value wins."""
    merged: dict[str, str] = {}
    for entry in (e for entries in environments for e in entries):
        merged[entry.partition("=")[0]] = entry
    return list(merged.values())


def with_working_directory(process: Process) -> list[str]:
    """The spec's, with PWD where it has none: WASI has no working directory, and some guests ask for it there."""
    if process.cwd in ("", "/") or _has(process, "PWD"):
        return process.env
    return [*process.env, f"PWD={process.cwd}"]


def with_home(process: Process, root: int) -> Process:
    """The process with HOME in its environment: where it has none, what the image's /etc/passwd says, else `/`.

    Args:
        root: a descriptor of the root filesystem.
    """
    if _has(process, "HOME"):
        return process
    uid = process.user.uid if process.user is not None else 0
    return process.replace(env=[*process.env, f"HOME={_home_of(uid, root)}"])


def _has(process: Process, name: str) -> bool:
    return any(entry.startswith(f"{name}=") for entry in process.env)


def _home_of(uid: int, root: int) -> str:
    try:
        fd = open_regular_in_root(root, PASSWD)
    except SampanError:  # there is none, or none that can be read
        return "/"
    with open(fd, "rb") as file:
        lines = file.read(MAX_FILE).decode(errors="replace").splitlines()
    for line in lines:
        fields = line.split(":")
        if len(fields) == FIELDS and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"
