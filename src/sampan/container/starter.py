"""What a container process and who starts it say to each other, over a socket of packets.

The process asks for what only its starter can do (`maps` of a user namespace, `hooks` of the runtime's side), may tell
that another process goes on in its place (`pid`), and at last says that it stands (`{}`) or what stopped it.
"""

from __future__ import annotations

import os

from sampan.core import strictjson
from sampan.core.errors import KINDS, Internal, SampanError
from sampan.linux.processes import reap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOST = 64 << 10


class Starter:
    """The process's end of the conversation; `fd` is closed with the last word."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @property
    def waits(self) -> bool:
        """Whether the last word is still to come."""
        return self.fd >= 0

    def ask(self, what: str) -> None:
        """Asks the starter to do something and waits until it is done.

        Raises:
            SampanError: what stopped the starter.
        """
        os.write(self.fd, strictjson.dumps({"ask": what, "pid": own_pid()}))
        raise_if_error(_read(self.fd, "who started the container"))

    def tell_pid(self, pid: int) -> None:
        """Tells that the process `pid` goes on in this one's place."""
        os.write(self.fd, strictjson.dumps({"pid": pid}))

    def stands(self) -> None:
        """Tells that all is well."""
        self._last_word({})

    def failed(self, error: SampanError) -> None:
        """Tells what stopped the start."""
        self._last_word(as_message(error))

    def _last_word(self, value: dict[str, Any]) -> None:
        if not self.waits:
            return
        fd, self.fd = self.fd, -1
        try:
            os.write(fd, strictjson.dumps(value))
            os.close(fd)
        except OSError:  # nobody waits any more
            return


def conversation() -> tuple[int, int]:
    """The two ends: the starter's, and the one for the process."""
    import _socket

    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    return ours.detach(), theirs.detach()


class Attendance:
    """The starter's part in the conversation with a process that starts.

    Args:
        fd: the starter's end, which is this object's now. pid: of the process that was forked.
        answers: what to do for what it asks, with its pid.

    Attributes:
        pid: of the process that goes on.
    """

    def __init__(self, fd: int, pid: int, answers: dict[str, Callable[[int], None]]) -> None:
        self.fd = fd
        self.pid = pid
        self._answers = answers

    def hear(self) -> bool:
        """Waits for one word and serves it; whether it was the last one, and the process stands.

        Raises:
            SampanError: what stopped it.
        """
        try:
            said = _read(self.fd, "the container process")
            if "ask" in said:
                _answer(self.fd, said, self._answers)
                return False
            if said.keys() == {"pid"}:
                if self.pid:
                    reap(self.pid)  # it only made way for the one that goes on
                self.pid = said["pid"]
                return False
            raise_if_error(said)
        except BaseException:
            self.close()
            raise
        self.close()
        return True

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def attend(fd: int, pid: int = 0, answers: dict[str, Callable[[int], None]] | None = None) -> int:
    """Serves a process that starts until its last word; the pid of the process that stands. Closes `fd`.

    Raises:
        SampanError: what stopped it.
    """
    attendance = Attendance(fd, pid, answers or {})
    while not attendance.hear():
        pass
    return attendance.pid


def _answer(fd: int, said: dict[str, Any], answers: dict[str, Callable[[int], None]]) -> None:
    try:
        answers[said["ask"]](said["pid"])
        reply = {}
    except SampanError as error:
        reply = as_message(error)
    os.write(fd, strictjson.dumps(reply))


def own_pid() -> int:
    """This process's pid as the host's /proc shows it, also in a pid namespace of its own."""
    return int(os.readlink("/proc/self"))


def _read(fd: int, who: str) -> dict[str, Any]:
    data = os.read(fd, MOST)
    if not data:
        raise Internal(f"{who} ended before it could say why")
    value: dict[str, Any] = strictjson.loads(data, what="a word of the start")
    return value


def as_message(error: SampanError) -> dict[str, Any]:
    """An error as a packet holds it."""
    return {"kind": error.kind, "message": error.message, "fix": error.fix, "code": error.exit_code}


def raise_if_error(said: dict[str, Any]) -> None:
    """Raises the error that a packet holds, if it holds one."""
    if said:
        raise KINDS[said["kind"]](said["message"], fix=said["fix"], exit_code=said["code"])
