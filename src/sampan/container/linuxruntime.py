"""The runtime for Linux containers as a program that is called: create, start, delete and exec, with its errors.

What it does is its own business; this module knows its command line, which runc, crun and youki share, and its log.
"""

from __future__ import annotations

import os

from sampan.core import strictjson
from sampan.core.errors import Invalid, NotFound, Precondition, SampanError, from_os_error
from sampan.linux import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Process

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PID_FILE = "linux.pid"
LOG_FD, DOCUMENT_FD = 100, 101  # in the runtime's process
MOST_LOG = 1 << 20
DEFAULTED_SIGNALS = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]
NOT_FOUND = ("no such file or directory", "executable file not found", "not found in $path")
NOT_RUNNABLE = ("permission denied", "exec format error", "is a directory")


class LinuxRuntime:
    """The runtime that an image's container was created for, and what it knows of that container."""

    def __init__(self, entry: Entry, roots: Roots) -> None:
        self._entry = entry
        self._id = entry.container.id
        self._program = entry.container.linux_runtime
        self._root = f"{roots.run}/linux"
        self._cgroups = ["--systemd-cgroup"] if entry.container.systemd_cgroup else []
        self._log = os.memfd_create("log")

    def close(self) -> None:
        os.close(self._log)

    def create(self, console: str) -> int:
        """Makes the container up to the program itself, with our own descriptors 0, 1 and 2; the program's pid.

        Args:
            console: the path of a socket that gets its terminal, "" for none.

        Raises:
            NotFound, Invalid: the program is not there (127), or cannot be run (126). SampanError: what else.
        """
        os.makedirs(self._root, 0o700, exist_ok=True)
        pid_file = f"{self._entry.folder}/{PID_FILE}"
        terminal = ["--console-socket", console] if console else []
        words = ["create", "--bundle", self._entry.folder, "--pid-file", pid_file, *terminal, self._id]
        self._check(self._run(words), "be created")
        with open(pid_file, "rb") as file:
            return int(file.read())

    def start(self) -> None:
        """Lets the program begin.

        Raises:
            SampanError: what stopped it.
        """
        self._check(self._run(["start", self._id]), "be started")

    def delete(self) -> None:
        """Ends what there is of the container and forgets it; one that is not there is fine."""
        state = f"{self._root}/{self._id}"
        if os.path.isdir(state):
            try:
                self._run(["delete", "--force", self._id], quiet=True)
            except SampanError:  # the runtime was uninstalled; the processes are ended without it
                pass
            durable.remove_tree(state)

    def execute(self, process: Process, *, detached: bool, keep_stdin: bool) -> int:
        """Starts another program in the running container; the pid of the runtime.

        It ends with the program's own code, detached as soon as that began; `why_not` says what stopped one that
        could not begin.

        Raises:
            SampanError: the runtime cannot be started.
        """
        document = os.memfd_create("process")
        try:
            os.write(document, strictjson.dumps(process))
            words = ["exec", "--process", f"/proc/self/fd/{DOCUMENT_FD}", *(["--detach"] if detached else [])]
            silent = [0, 1, 2] if detached else [] if keep_stdin else [0]
            return self._spawn([*words, self._id], silent, document)
        finally:
            os.close(document)

    def execute_beside(self, process: Process, console: str) -> int:
        """Starts another program in the running container, with our own descriptors 0, 1 and 2; its pid.

        It is a child of this process's reaper.

        Args:
            console: the path of a socket that gets its terminal, "" for none.

        Raises:
            NotFound, Invalid: the program is not there (127), or cannot be run (126). SampanError: what else.
        """
        pid_file = f"{self._entry.folder}/exec-{os.getpid()}.pid"  # several may do this at once
        document = os.memfd_create("process")
        try:
            os.write(document, strictjson.dumps(process))
            words = ["exec", "--detach", "--process", f"/proc/self/fd/{DOCUMENT_FD}", "--pid-file", pid_file]
            words += ["--console-socket", console] if console else []
            pid = self._spawn([*words, self._id], [], document)
            self._check(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "run another program")
            with open(pid_file, "rb") as file:
                return int(file.read())
        finally:
            os.close(document)
            try:
                os.unlink(pid_file)
            except FileNotFoundError:
                pass

    def why_not(self) -> SampanError | None:
        """What the last call complained of, None where it did not."""
        message = self._complaint()
        return _as_error(f"container {self._entry.container.name}: {message}", message) if message else None

    def _run(self, words: list[str], *, quiet: bool = False) -> int:
        """Runs it to its end; its exit code."""
        pid = self._spawn(words, [0, 1, 2] if quiet else [])
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _spawn(self, words: list[str], silent: list[int], document: int = -1) -> int:
        """Starts it with a new log; `silent` descriptors lead nowhere."""
        os.ftruncate(self._log, 0)
        log = ["--log", f"/proc/self/fd/{LOG_FD}", "--log-format", "json"]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        given = [(null, fd) for fd in silent] + [(self._log, LOG_FD)]
        if document >= 0:
            given.append((document, DOCUMENT_FD))
        try:
            return os.posix_spawn(
                self._program,
                [self._program, "--root", self._root, *log, *self._cgroups, *words],
                {"PATH": PATH},
                file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in given],
                setsigmask=[],
                setsigdef=DEFAULTED_SIGNALS,
            )
        except OSError as error:
            raise from_os_error(error, f"start {self._program}") from error
        finally:
            os.close(null)

    def _check(self, code: int, what: str) -> None:
        if code != 0:
            message = self._complaint() or f"{os.path.basename(self._program)} ended with {code}"
            raise _as_error(
                f"the Linux container {self._entry.container.name} cannot {what}: {message}", message
            )

    def _complaint(self) -> str:
        """The last error in the runtime's log, in one line."""
        for line in reversed(os.pread(self._log, MOST_LOG, 0).splitlines()):
            try:
                entry = strictjson.loads(line, what="a line of the runtime's log")
            except Invalid:
                continue
            if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
                return " ".join(str(entry.get("msg", "")).split())
        return ""


def _as_error(sentence: str, message: str) -> SampanError:
    """The runtime's complaint, with the exit code that shells and Docker have for it."""
    text = message.lower()
    about_program = "exec" in text
    if about_program and any(words in text for words in NOT_RUNNABLE):
        return Invalid(sentence, exit_code=126)
    if about_program and any(words in text for words in NOT_FOUND):
        return NotFound(sentence, fix="the command must name a program of the image", exit_code=127)
    return Precondition(sentence)
