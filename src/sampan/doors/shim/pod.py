"""What all tasks of one server have in common, and where it keeps it.

A server is known by containerd's address, the namespace (ids are unique only within one), the runtime's name and the
group: the pod's sandbox, else the container alone. Its folder holds the socket `s`, the `lock` of whoever serves, the
`tasks` by id, and the `events` that wait.
"""

from __future__ import annotations

import hashlib
import os
import time

from sampan.container.states import StateRoot
from sampan.core.record import Record
from sampan.core.roots import Roots
from sampan.core.units import rfc3339

FOLDER = "shim"
SOCKET, LOCK, TASKS = "s", "lock", "tasks"
ADDRESS = "address"
SANDBOX_ID = "io.kubernetes.cri.sandbox-id"
LOG = "log"


class Wish(Record):
    """What the command line and the environment of a `start` or `delete` say.

    Attributes:
        runtime: the name that the program was called by: `sampan`, or the engine that is asked for. address: of
            containerd's socket. events: that of its socket for events. bundle: the container's.
        data, run: Sampan's roots.
    """

    runtime: str
    namespace: str
    address: str
    id: str
    bundle: str
    data: str
    run: str
    events: str = ""
    debug: bool = False


class Pod:
    """One server's wish, and what follows from it.

    Attributes:
        folder: the server's own. states: the records of its containers. roots: where compiled code is kept.
            linux: the roots for the runtime of Linux containers.
    """

    def __init__(self, wish: Wish, folder: str) -> None:
        self.wish = wish
        self.folder = folder
        self.states = StateRoot(f"{folder}/{TASKS}")
        self.roots = Roots(wish.data, wish.run)
        self.linux = Roots(wish.data, folder)

    def log(self, bundle: str, level: str, text: str) -> None:
        """One line in containerd's log, by the fifo that it reads in each bundle; nobody there is fine."""
        if level == "debug" and not self.wish.debug:
            return
        line = f'time="{rfc3339(time.time_ns())}" level={level} msg={_quoted(text)} runtime={self.wish.runtime}\n'
        try:
            fd = os.open(f"{bundle}/{LOG}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return
        try:
            os.write(fd, line.encode(errors="backslashreplace"))
        except OSError:  # it is full, or was just closed
            pass
        finally:
            os.close(fd)


def folder_of(wish: Wish, group: str) -> str:
    """The folder of the server for a group."""
    key = "\0".join((wish.address, wish.namespace, wish.runtime, group))
    return f"{wish.run}/{FOLDER}/{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:32]}"


def has_tasks(folder: str) -> bool:
    """Whether there is any task below a server's folder; what a killed server only began to write is none."""
    try:
        return any(not name.startswith(".") for name in os.listdir(f"{folder}/{TASKS}"))
    except FileNotFoundError:
        return False


def _quoted(text: str) -> str:
    safe = "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
    return '"' + safe.replace('"', '\\"') + '"'
