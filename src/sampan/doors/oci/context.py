"""What every command of `sampan-oci` is given: the global options, and where errors are logged."""

from __future__ import annotations

import os
import time

from sampan.core import strictjson
from sampan.core.roots import default_roots
from sampan.core.units import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.container.states import StateRoot
    from sampan.core.roots import Roots

STDERR = "/dev/stderr"


class Context:
    """One invocation of `sampan-oci`.

    Attributes:
        root: the folder of all containers' states.
        words: the whole command line, for the runtime for Linux containers, with the root in it; `globals` those
            before the command.
        env: the environment it was started with. log: the log file's path. json: whether the log is JSON lines.
        systemd: whether cgroups are systemd's. rootless: `true`, `false` or `auto`.
    """

    def __init__(self, words: list[str], env: Mapping[str, str]) -> None:
        self.words = words
        self.globals: list[str] = []
        self.env = env
        self.root = default_root(env)
        self.log = ""
        self.json = False
        self.debug = False
        self.systemd = False
        self.rootless = "auto"

    @property
    def states(self) -> StateRoot:
        """All containers below the root."""
        from sampan.container.states import StateRoot

        return StateRoot(self.root)

    @property
    def roots(self) -> Roots:
        """Where compiled code is kept: the same as for every other door."""
        return default_roots(os.geteuid(), self.env)

    def record(self, level: str, message: str) -> None:
        """One line in the log file, in logrus's text or JSON form, as callers of runc read it."""
        if not self.log or (level == "debug" and not self.debug):
            return
        now = rfc3339(time.time_ns())
        if self.json:
            line = strictjson.dumps({"level": level, "msg": message, "time": now}).decode()
        else:
            line = f"time={_quoted(now)} level={level} msg={_quoted(message)}"
        try:
            fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, f"{line}\n".encode(errors="backslashreplace"))
            finally:
                os.close(fd)
        except (OSError, ValueError):  # the error itself still goes to standard error
            return


def default_root(env: Mapping[str, str]) -> str:
    """`/run/sampan-oci`; for a plain user, below the runtime folder of the session."""
    if os.geteuid() == 0:
        return "/run/sampan-oci"
    return f"{default_roots(os.geteuid(), env).run}/oci"


def _quoted(text: str) -> str:
    """As Go's strconv.Quote does it, for the readers of text logs."""
    safe = (c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
    return '"' + "".join(safe).replace('"', '\\"') + '"'
