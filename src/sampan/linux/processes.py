"""Processes that stay the same process: known by pid and start time, held by pidfd, never by a bare pid.

A pid alone names another process tomorrow; start time and boot id make it a name for good. /proc(5),
pidfd_open(2).
"""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, NotFound, Precondition, from_os_error
from sampan.core.record import Record
from sampan.linux import syscalls
from sampan.linux.files import read_file

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
MAX_SIGNAL = 64
_ARG_START = 45  # of /proc/PID/stat's fields behind the name: proc(5) counts 48
LONGEST_POLL = 2_000_000.0


class Stat(Record):
    """A process at one moment: its parent's pid, terminal (a device number, 0 for none), CPU time of all its threads
    in ns, when it began in ns since boot, threads, and resident memory in bytes.
    """

    parent: int
    terminal: int
    cpu_ns: int
    began_ns: int
    threads: int
    memory: int


def read_stat(pid: int) -> Stat:
    """What /proc/PID/stat says.

    Raises:
        NotFound: there is no such process.
    """
    fields = [int(field) for field in _stat(pid)[1:]]
    tick = 10**9 // os.sysconf("SC_CLK_TCK")
    cpu, began = (fields[10] + fields[11]) * tick, fields[18] * tick
    return Stat(fields[0], fields[3], cpu, began, fields[16], fields[20] * os.sysconf("SC_PAGE_SIZE"))


def start_time(pid: int) -> int:
    """When the process began, in clock ticks since boot.

    Raises:
        NotFound: there is no such process.
    """
    return int(_stat(pid)[19])


def is_same(pid: int, start: int) -> bool:
    """Whether the process that began at `start` still runs as `pid` (a zombie does not run)."""
    try:
        fields = _stat(pid)
    except NotFound:
        return False
    return int(fields[19]) == start and fields[0] not in (b"Z", b"X")


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third (state) on; the second may hold spaces and brackets."""
    try:
        line = read_file(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NotFound(f"there is no process {pid}") from error
    except OSError as error:
        raise from_os_error(error, f"look at process {pid}") from error
    return line[line.rindex(b")") + 2 :].split()


def boot_id() -> str:
    """The random name of this boot; a start time means something within one boot only."""
    try:
        return read_file("/proc/sys/kernel/random/boot_id").decode().strip()
    except OSError as error:
        raise from_os_error(error, "read the boot id") from error


def open_pidfd(pid: int) -> int:
    """A descriptor of the process; readable (poll) once it has ended. Closed on exec.

    Raises:
        NotFound: there is no such process.
    """
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise NotFound(f"there is no process {pid}") from error
    except OSError as error:
        if pid <= 0:
            raise Invalid(f"{pid} is not a process id") from error
        raise from_os_error(error, f"open process {pid}") from error


def wait_ended(pidfd: int, timeout: float | None) -> bool:
    """Wait up to `timeout` seconds (None, or more than 23 days: for good) for its end; true once it has ended."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if timeout is not None and timeout > LONGEST_POLL:
        timeout = None
    return bool(poll.poll(None if timeout is None else max(0, int(timeout * 1000))))


def reap(pid: int) -> None:
    """Waits for the end of a child; one that was collected by somebody else, or is none any more, has ended."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def send_signal(pid: int, start: int, number: int) -> None:
    """Send a signal to exactly the process that began at `start`.

    Raises:
        NotFound: it has ended, whoever has its pid now.
        Invalid: `number` is not 0..64.
        Denied: it belongs to somebody else.
    """
    from _signal import pidfd_send_signal  # `signal` imports enum

    if not 0 <= number <= MAX_SIGNAL:
        raise Invalid(f"{number} is not a signal number")
    pidfd = open_pidfd(pid)
    try:
        if not is_same(pid, start):  # asked after the open: the descriptor cannot change its process any more
            raise NotFound(f"process {pid} has ended")
        pidfd_send_signal(pidfd, number)
    except ProcessLookupError as error:
        raise NotFound(f"process {pid} has ended") from error
    except OSError as error:
        raise from_os_error(error, f"send signal {number} to process {pid}") from error
    finally:
        os.close(pidfd)


def set_child_subreaper() -> None:
    """Become the parent of every orphan among our descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "become a subreaper")


def set_parent_death_signal(number: int, parent: int) -> None:
    """Be sent `number` when the parent (the thread that forked us) ends.

    Args:
        parent: the pid that the parent had when we were forked.

    Raises:
        Precondition: it has ended already, so the signal would never come.
    """
    _prctl(_PR_SET_PDEATHSIG, number, "ask for a parent death signal")
    if os.getppid() != parent:
        raise Precondition(f"the parent process {parent} has ended")


def set_name(name: str) -> None:
    """The thread's name in ps and /proc/PID/comm; the first 15 bytes count."""
    _prctl(_PR_SET_NAME, os.fsencode(name.replace("\0", ""))[:15], f"take the name {name!r}")


def set_command_line(words: list[str]) -> None:
    """What ps shows of this process; as much of it as there is room where its own arguments are.

    Best effort: where it cannot be written it stays.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
        text = b"\0".join(word.encode(errors="backslashreplace") for word in words)[: max(end - start - 1, 0)]
        fd = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, text.ljust(end - start, b"\0"), start)
        finally:
            os.close(fd)
    except OSError:
        return


def set_oom_score_adj(value: int) -> None:
    """How likely the kernel ends this process, and its children to come, when memory is short. proc(5)

    Args:
        value: -1000 (never) to 1000 (first).

    Raises:
        Invalid: out of range. Denied: less than now, without CAP_SYS_RESOURCE.
    """
    if not -1000 <= value <= 1000:
        raise Invalid(f"the oom_score_adj {value} is not -1000 to 1000")
    from sampan.linux import procfs

    try:
        with open("/proc/self/oom_score_adj", "rb") as file:
            if int(file.read()) == value:
                return
        procfs.write("self/oom_score_adj", str(value))
    except OSError as error:
        raise from_os_error(error, f"set oom_score_adj to {value}") from error


def _prctl(option: int, value: int | bytes, doing: str) -> None:
    try:
        syscalls.call("prctl", option, value)
    except OSError as error:
        raise from_os_error(error, doing) from error
