"""The id maps of a user namespace, written by the parent of the process that made it. user_namespaces(7)

Root writes any map. A plain user writes one line, for its own id; ranges are written by newuidmap and newgidmap,
which check them against /etc/subuid and /etc/subgid. Nothing here decides which ids a container gets.
"""

from __future__ import annotations

import os
from errno import EPERM

from sampan.core.errors import Denied, Unimplemented, from_os_error
from sampan.core.spec.linuxchecks import check_mappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import IdMapping

MOST_SAID = 4096


def write_maps(pid: int, uid: list[IdMapping], gid: list[IdMapping]) -> None:
    """Map users and groups into the user namespace that the process `pid`, our child, has just made.

    setgroups stays allowed in it where a privileged writer maps the groups; else the kernel asks for it to be
    forbidden.

    Raises:
        Invalid: a map is malformed: overlapping, empty, of more than 340 lines, out of range.
        Denied: these ids are not ours to give away.
        Unimplemented: newuidmap is needed, and the host does not have it.
    """
    check_mappings(uid, "linux.uidMappings")
    check_mappings(gid, "linux.gidMappings")
    _write_map(pid, "uid", uid)
    _write_map(pid, "gid", gid)


def _write_map(pid: int, kind: str, mappings: list[IdMapping]) -> None:
    text = "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in mappings)
    try:
        try:
            _write(pid, f"{kind}_map", text)
            return
        except OSError as error:
            if error.errno != EPERM:
                raise
        own = os.geteuid() if kind == "uid" else os.getegid()
        if len(mappings) > 1 or mappings[0].size > 1 or mappings[0].host_id != own:
            _write_by_helper(pid, kind, mappings)
            return
        if kind == "gid":
            _write(pid, "setgroups", "deny")
        _write(pid, f"{kind}_map", text)
    except OSError as error:
        raise from_os_error(error, f"map the container's {kind}s {_shown(mappings)}") from error


def _write(pid: int, name: str, text: str) -> None:
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _write_by_helper(pid: int, kind: str, mappings: list[IdMapping]) -> None:
    helper = f"new{kind}map"
    path = _find(helper)
    if not path:
        raise Unimplemented(
            f"the {kind}s {_shown(mappings)} cannot be mapped: a plain user needs {helper} for that",
            fix="install the package uidmap (shadow-utils)",
        )
    arguments = [helper, str(pid)]
    for m in mappings:
        arguments += [str(m.container_id), str(m.host_id), str(m.size)]
    code, said = _run(path, arguments)
    if code:
        raise Denied(
            f"{helper} does not map the {kind}s {_shown(mappings)}: {said or f'exit code {code}'}",
            fix=f"give the user these ids in /etc/sub{kind} (usermod --add-sub{kind}s FIRST-LAST USER)",
        )


def _find(helper: str) -> str:
    """The helper's path, or "" where there is none."""
    for folder in os.get_exec_path():
        path = os.path.join(folder, helper)
        if os.path.isabs(path) and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def _run(path: str, arguments: list[str]) -> tuple[int, str]:
    """A program's exit code, and the first of what it says on stderr."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(path, arguments, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 2)])
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    said = b""
    with open(read, "rb") as pipe:
        while piece := pipe.read(MOST_SAID):
            said = said or piece
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, said.decode(errors="backslashreplace").strip()


def _shown(mappings: list[IdMapping]) -> str:
    m = mappings[0]
    more = f" and {len(mappings) - 1} more" if len(mappings) > 1 else ""
    return f"{m.container_id}:{m.host_id}:{m.size}{more}"
