"""Compiling in a process of its own, with bounds on time and memory: hostile code may well want both for ever.

The parent gives an open file and gets an anonymous file with the compiled code, and the digest of exactly the
bytes that were compiled. The child is a bare interpreter that runs `main` below. Loads nothing that it compiled.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
from time import monotonic

from sampan.core.errors import Exhausted, Internal, Invalid, SampanError, TimedOut, from_os_error
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sampan.engine.tuning import Tuning

TIMEOUT = 60.0  # seconds, of the clock and of the processor for each thread
MEMORY = 1 << 30  # bytes
REFUSED = 3  # the child's exit status for code that is not valid
FIRST_FREE = 10  # descriptors below this are the child's own
NICENESS = 5
SIGKILL, SIGXCPU = 9, 24  # the module `signal` costs 10 ms

_START = (
    "import sys; sys.path[:] = sys.argv[4].split(':'); "
    "from sampan.engine.compiler import main; main(sys.argv[1:])"
)


class Compiled(Record):
    """`fd`: an anonymous file with the compiled code; close it. `digest`: SHA-256 of the source, in hex."""

    fd: int
    digest: str


def compile_file(
    fd: int, kind: str, tuning: Tuning, name: str, *, timeout: float = TIMEOUT, memory: int = MEMORY
) -> Compiled:
    """Compile the Wasm binary behind a descriptor.

    Args:
        kind: module or component. name: what errors call it. timeout: in seconds. memory: in bytes.

    Raises:
        Invalid: it is not valid; the text has the offset. TimedOut, Exhausted: it took too much to compile.
            All with exit code 126.
    """
    try:
        source = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
        code, said = _anonymous("code"), _anonymous("errors")
    except OSError as error:
        raise from_os_error(error, f"compile {name}") from error
    try:
        status = _run(kind, tuning, (source, code, said), timeout, memory)
        text = os.pread(said, 4096, 0).decode(errors="replace").strip()
        if status != 0:
            raise _failure(status, text, name, timeout, memory)
        return Compiled(os.dup(code), text)
    finally:
        for each in (source, code, said):
            os.close(each)


def _anonymous(name: str) -> int:
    fd = os.memfd_create(f"sampan-{name}", os.MFD_CLOEXEC)
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    finally:
        os.close(fd)


def _run(kind: str, tuning: Tuning, fds: tuple[int, int, int], timeout: float, memory: int) -> int | None:
    """The child's wait status as an exit code (negative for a signal), None when its time was up."""
    flags = f"{tuning.fuel:d}{tuning.epochs:d}"
    path = ":".join(sys.path)
    argv = [sys.executable, "-I", "-S", "-c", _START, kind, flags, f"{memory} {timeout:.0f}", path]
    actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)]
    try:
        child = os.posix_spawn(sys.executable, argv, {}, file_actions=actions)
    except OSError as error:
        raise from_os_error(error, "start the compiler") from error
    finished = False
    try:
        finished = _wait(child, timeout)
    finally:
        if not finished:
            os.kill(child, SIGKILL)
        try:
            status = os.waitpid(child, 0)[1]
        except ChildProcessError as error:  # somebody ignores SIGCHLD, or reaps all children
            raise Internal("the compiler's status is lost", exit_code=126) from error
    return os.waitstatus_to_exitcode(status) if finished else None


def _wait(child: int, timeout: float) -> bool:
    pidfd = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        end = monotonic() + timeout
        while (left := end - monotonic()) > 0:
            if poll.poll(left * 1000):
                return True
        return False
    finally:
        os.close(pidfd)


def _failure(status: int | None, text: str, name: str, timeout: float, memory: int) -> SampanError:
    if status == REFUSED:
        return Invalid(f"{name} is not valid WebAssembly: {text}", exit_code=126)
    if status is None or status == -SIGXCPU:
        return TimedOut(f"{name} took more than {timeout:g} seconds to compile", exit_code=126)
    if (
        "memory allocation" in text
        or "MemoryError" in text
        or "Cannot allocate" in text
        or status == -SIGKILL
    ):
        return Exhausted(f"{name} needs more than {memory >> 20} MiB to compile", exit_code=126)
    said = text.splitlines()[-1] if text else f"status {status}"
    return Internal(f"the compiler failed on {name}: {said}", exit_code=126)


def main(argv: list[str]) -> NoReturn:
    """The child: compiles descriptor 0 into descriptor 1 and says on 2 the digest, or what is wrong."""
    kind, flags, bounds, _ = argv
    memory, timeout = bounds.split()
    _limit(int(memory), int(timeout))
    from hashlib import sha256
    from mmap import ACCESS_READ, mmap

    from sampan.engine.code import serialize
    from sampan.engine.tuning import Tuning

    source = mmap(0, 0, access=ACCESS_READ) if os.fstat(0).st_size else b""
    try:
        code = serialize(bytes(source), kind, Tuning(flags[0] == "1", flags[1] == "1"))
    except Invalid as error:
        os.write(2, error.message.encode())
        os._exit(REFUSED)
    left = memoryview(code)
    while left:
        left = left[os.write(1, left) :]
    os.write(2, sha256(source).hexdigest().encode())
    os._exit(0)


def _limit(memory: int, timeout: int) -> None:
    from resource import RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, setrlimit

    setrlimit(RLIMIT_CORE, (0, 0))
    setrlimit(RLIMIT_DATA, (memory, memory))
    setrlimit(RLIMIT_FSIZE, (memory, memory))
    seconds = max(timeout, 1) * len(os.sched_getaffinity(0))
    setrlimit(RLIMIT_CPU, (seconds, seconds + 1))
    os.nice(NICENESS)
    os.closerange(3, 1 << 16)
    from ctypes import CDLL

    die_with_parent, no_new_privileges = 1, 38
    CDLL(None).prctl(die_with_parent, SIGKILL, 0, 0, 0)
    CDLL(None).prctl(no_new_privileges, 1, 0, 0, 0)
