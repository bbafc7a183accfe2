"""The desk: where a launcher hands a command to the zygote, to have it run by a process that has all loaded.

A launcher is a shell script: all that it can do is open, read and write. So the desk is a folder, its owner's only:

    zygote      the process id and start time of who serves, and the vintage of its code (see `vintage`), which is the
                file's own time, too: a launcher looks in /proc whether that process is there, and compares the times
    in          a FIFO that takes a line for each command: SLOT PID COUNT MODULE
    0 .. 7      slots: FIFOs that bring the answer
    0.taken     made by a launcher, exclusively, with its process id in it: the slot is its own

PID is the launcher, which has the slot open as descriptor 8 and its standard ones as 4, 5 and 6; the last COUNT words
of its command line are the command's, and MODULE's `main` is what runs it, with the launcher's descriptors, folder and
environment. It gives the exit code, and maybe what this process goes on as once the launcher has that, with none of its
descriptors. The answer is `taken PID` (who to signal) and at the end `exit CODE`, or `no`: then the launcher starts a
process of its own. The only writing ends of a slot are the zygote's and that process's: where both are gone, the
launcher reads the end.
"""

from __future__ import annotations

import _signal
import gc
import os
import sys

from sampan.container.vintage import vintage
from sampan.core.errors import Precondition, SampanError
from sampan.linux import callers, durable
from sampan.linux.files import read_file
from sampan.linux.privileges import close_from
from sampan.linux.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SLOTS = tuple("01234567")
LAUNCHERS_END, LAUNCHERS_STANDARD = 8, (4, 5, 6)
MODULES = ("sampan.doors.", ".warm")
"""How the names of the modules that may be asked for begin and end."""


class Desk:
    """A folder of FIFOs; `fd` is readable when a launcher has written."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._vintage = vintage()
        durable.remove_tree(folder)
        durable.make_dir(folder, 0o700)
        self._slots = {name: self._open_slot(name) for name in SLOTS}
        os.mkfifo(f"{folder}/in", 0o600)
        self.fd = os.open(f"{folder}/in", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        own = os.getpid()
        with durable.replace_file(f"{folder}/zygote", lasting=False) as file:
            file.write(f"{own} {start_time(own)} {self._vintage}\n".encode())
            os.utime(file.fileno(), ns=(self._vintage, self._vintage))

    @property
    def is_outdated(self) -> bool:
        """Whether Sampan was installed anew since: what would be imported now does not fit what is loaded."""
        return vintage() != self._vintage

    def close(self) -> None:
        """Takes the desk away; who waits at it reads the end."""
        durable.remove_tree(self._folder)

    def serve(self) -> list[int]:
        """Takes what launchers have written; the pids of the processes that were forked for it."""
        pids = []
        for line in os.read(self.fd, 1 << 16).splitlines():
            try:
                slot, pid, count, module = line.decode("ascii").split(" ")
                pids.append(self._take(slot, int(pid), int(count), module))
            except (ValueError, KeyError, SampanError):  # from no launcher of ours, or refused
                continue
        self._free_stale()
        return pids

    def _take(self, slot: str, pid: int, count: int, module: str) -> int:
        fd = self._slots[slot]
        try:
            self._check(fd, pid, module)
            __import__(module)
            gc.freeze()
            worker = os.fork()
            if worker == 0:
                _work(fd, pid, count, module)
            return worker
        except Exception:  # whatever it is, the launcher's own process says it better
            _answer(fd, b"no\n")
            raise Precondition("the launcher does it by itself") from None
        finally:
            self._free(slot)

    def _check(self, fd: int, pid: int, module: str) -> None:
        begin, end = MODULES
        if not (module.startswith(begin) and module.endswith(end)):
            raise Precondition(f"{module} is no door's")
        if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{LAUNCHERS_END}"), os.fstat(fd)):
            raise Precondition(f"process {pid} does not hold the slot")
        if self.is_outdated:
            raise Precondition("Sampan was installed anew")
        callers.check_is_alike(pid)

    def _open_slot(self, name: str) -> int:
        path = f"{self._folder}/{name}"
        os.mkfifo(path, 0o600)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(reading)

    def _free(self, name: str) -> None:
        """Puts a new FIFO in the place of a slot's that was used."""
        os.close(self._slots.pop(name))
        try:
            os.unlink(f"{self._folder}/{name}")
            self._slots[name] = self._open_slot(name)
            os.unlink(f"{self._folder}/{name}.taken")
        except OSError:  # it was no launcher that wrote; or the desk was removed: nobody comes to it any more
            return

    def _free_stale(self) -> None:
        """Frees the slots whose launchers ended before they wrote a line."""
        for name in list(self._slots):
            try:
                pid = read_file(f"{self._folder}/{name}.taken").decode("ascii", "replace").strip()
            except OSError:  # it is free
                continue
            if pid and not os.path.exists(f"/proc/{pid}"):
                self._free(name)


def _work(fd: int, pid: int, count: int, module: str) -> NoReturn:
    """Runs the command of launcher `pid` in this just forked process."""
    answer = b"no\n"
    try:
        os.setsid()
        close_from(3, [fd])
        _reset_signals()
        words = callers.stand_in(pid, LAUNCHERS_STANDARD)
        _open_streams()
        _answer(fd, b"taken %d\n" % os.getpid())
        answer = b"exit 125\n"
        if not os.path.exists(f"/proc/{pid}/fd/{LAUNCHERS_END}"):  # it was ended while nobody ran this
            os._exit(0)
        done = sys.modules[module].main(words[len(words) - count :])
        code, go_on = done if isinstance(done, tuple) else (done, None)
        answer = b"exit %d\n" % code
        sys.stdout.flush()
        sys.stderr.flush()
        if go_on is not None:
            _answer(fd, answer)
            os.close(fd)
            fd = -1
            go_on()
    finally:
        _answer(fd, answer)
        os._exit(0)


def _reset_signals() -> None:
    """Gives a process that the zygote has just forked the signals of a fresh interpreter."""
    _signal.set_wakeup_fd(-1)
    for number in (_signal.SIGCHLD, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _open_streams() -> None:
    """Makes Python's standard streams anew: they have another buffering for a terminal, and another place in a file."""
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)
    buffering = 1 if os.isatty(1) else -1
    sys.stdout = open(1, "w", buffering, sys.stdout.encoding, sys.stdout.errors, closefd=False)
    sys.stderr = open(2, "w", 1, sys.stderr.encoding, "backslashreplace", closefd=False)


def _answer(fd: int, text: bytes) -> None:
    try:
        os.write(fd, text)
    except OSError:  # the launcher has gone away
        return
