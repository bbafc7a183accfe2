"""`sampan top`: the processes of a container, its own one and those of `exec`."""

from __future__ import annotations

import os
import time

from sampan.container.store import Containers
from sampan.core.commandline import Command
from sampan.core.errors import Invalid, NotFound, Precondition, SampanError, Unimplemented, printable
from sampan.doors.cli import listing
from sampan.doors.cli.metering import processes_of
from sampan.doors.cli.output import print_table
from sampan.linux.processes import Stat, read_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context

TITLES = {
    "uid": "UID", "user": "USER", "pid": "PID", "ppid": "PPID", "c": "C", "stime": "STIME", "tty": "TTY",
    "time": "TIME", "rss": "RSS", "nlwp": "NLWP", "cmd": "CMD", "args": "COMMAND",
}  # fmt: skip
DEFAULT = ["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"]
FULL_LISTS = (["-ef"], ["-e", "-f"], ["-f", "-e"], ["-fe"], ["ef"])
TERMINALS = range(136 << 8, 144 << 8)
DAY = 86400


def run(context: Context, args: Arguments) -> int:
    entry = Containers(context.roots).find(args.operands[0])
    fields = _fields(args.operands[1:])
    pids = processes_of(entry)
    if not pids:
        raise Precondition(f"container {entry.container.name} is not running")
    rows = []
    for pid in pids:
        try:
            row = _row(entry, pid, is_own=pid == pids[0])
        except NotFound:  # it ended while we looked
            continue
        rows.append([row[field] for field in fields])
    print_table([TITLES[field] for field in fields], rows)
    return 0


def _fields(options: list[str]) -> list[str]:
    """The columns that options of ps ask for."""
    if not options or options in FULL_LISTS:
        return DEFAULT
    flag, text = options[0], ",".join(options[1:])
    if flag in ("-o", "-eo") and text:
        fields = text.split(",")
    elif flag.startswith("-o") and len(options) == 1:
        fields = flag[2:].split(",")
    else:
        raise Unimplemented(
            f"{' '.join(options)[:60]!r} cannot be had: of the options of ps there are -ef and -o",
            fix=f"-o with {','.join(TITLES)}",
        )
    for field in fields:
        if field not in TITLES:
            raise Invalid(f"{field[:40]!r} is not a column", fix=f"there are: {', '.join(TITLES)}")
    return fields


def _row(entry: Entry, pid: int, *, is_own: bool) -> dict[str, str]:
    stat = read_stat(pid)
    uid = _user_of(pid)
    began = time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - stat.began_ns / 10**9)
    command = printable(" ".join(_arguments(entry, pid, is_own=is_own)))
    return {
        "uid": _user_name(uid),
        "user": _user_name(uid),
        "pid": str(pid),
        "ppid": str(stat.parent),
        "c": str(int(100 * stat.cpu_ns / 10**9 / max(0.01, time.time() - began))),
        "stime": _start(began),
        "tty": f"pts/{stat.terminal & 0xFF}" if stat.terminal in TERMINALS else "?",
        "time": _duration(stat),
        "rss": str(stat.memory >> 10),
        "nlwp": str(stat.threads),
        "cmd": command,
        "args": command,
    }


def _arguments(entry: Entry, pid: int, *, is_own: bool) -> list[str]:
    if entry.container.linux_runtime:
        return _command_line(pid)
    process = entry.spec.process
    if not is_own:
        return _arguments_of_exec(pid)
    return process.args if process is not None else []


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return ["?"]


def _arguments_of_exec(pid: int) -> list[str]:
    """The workload's words of a process that `sampan exec` made: it has that command's own command line."""
    from sampan.doors.cli.commands.exec import COMMAND as EXEC

    words = _command_line(pid)
    try:
        return EXEC.parse(words[words.index("exec") + 1 :]).operands[1:]
    except (ValueError, SampanError):  # another program that somebody put into the cgroup
        return words


def _user_of(pid: int) -> int:
    """The user that it runs as; the owner of its /proc folder is root's for a process that is not dumpable."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            line = next(line for line in file if line.startswith(b"Uid:"))
    except OSError as error:
        raise NotFound(f"there is no process {pid}") from error
    return int(line.split()[2])


def _start(began: float) -> str:
    """The time of day, or the day when that was long ago, as ps has it."""
    return time.strftime("%H:%M" if time.time() - began < DAY else "%b%d", time.localtime(began))


def _duration(stat: Stat) -> str:
    seconds = stat.cpu_ns // 10**9
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _user_name(uid: int) -> str:
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


COMMAND = Command(
    "top",
    "CONTAINER [-o COLUMN,...]",
    listing.SUMMARIES["top"],
    run,
    operands="container",
    least=1,
    interspersed=False,
    examples=["sampan top web", "sampan top web -o pid,rss,args"],
    notes=f"Columns: {', '.join(TITLES)}.",
)
