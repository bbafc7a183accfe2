"""`sampan-oci exec`: another module of a running container's root filesystem, in the same world."""

from __future__ import annotations

import os

from sampan.core import strictjson
from sampan.core.commandline import Command, Option, UsageError, collected, setting, switch
from sampan.core.errors import Exhausted, Invalid, Precondition, from_os_error
from sampan.core.spec.runtime import Capabilities, Process, User
from sampan.doors.oci import plumbing
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context

MAX_DOCUMENT = 4 << 20
MAX_ID = 2**32 - 2


def run(context: Context, arguments: Arguments) -> int:
    from sampan.container.status import CREATED, PAUSED, oci_state
    from sampan.container.store import RUNNING
    from sampan.core.spec.checks import check_process

    entry = find(context, arguments.operands[0])
    process = _process(entry, arguments)
    check_process(process)
    status = oci_state(entry).status
    if status == PAUSED and not arguments.on("ignore-paused"):
        raise Precondition("cannot exec in a paused container", fix="resume it first, or use --ignore-paused")
    if status not in (CREATED, RUNNING, PAUSED):
        raise Precondition(f"cannot exec in a container that is {status}")
    if arguments.on("detach"):
        _start(context, entry, process, arguments, -1)
        return 0
    return _serve(context, entry, process, arguments)


def _serve(context: Context, entry: Entry, process: Process, arguments: Arguments) -> int:
    from sampan.doors.oci.foreground import Foreground
    from sampan.linux.processes import start_time

    with Foreground(terminal=process.terminal and not arguments.value("console-socket")) as foreground:
        pid = _start(context, entry, process, arguments, foreground.console_fd)
        return foreground.serve(pid, start_time(pid))


def _start(context: Context, entry: Entry, process: Process, arguments: Arguments, console_fd: int) -> int:
    """Starts the process; its pid, which is in the pid file then."""
    from sampan.container.inside import execute

    preserved = plumbing.preserved(arguments)
    console_fd = plumbing.console(arguments, terminal=process.terminal, given=console_fd)
    pid = execute(entry, context.roots, process, keep_stdin=True, console_fd=console_fd, preserved=preserved)
    try:
        plumbing.write_pid(arguments, pid)
    except BaseException:  # nobody would know of it
        os.kill(pid, 9)
        raise
    return pid


def _process(entry: Entry, arguments: Arguments) -> Process:
    """What is to run: a document's process, or the container's own with what the flags change.

    Raises:
        Invalid: a flag's value or the document is malformed. UsageError: there is nothing to run.
    """
    if arguments.given("process"):
        return read_process(arguments.value("process"))
    words = arguments.operands[1:]
    if not words:
        raise UsageError("exec needs the module to run, or --process")
    own = entry.spec.process or Process()
    return own.replace(
        args=words,
        cwd=arguments.value("cwd") or own.cwd,
        env=[*own.env, *arguments.values("env")],
        terminal=arguments.on("tty"),
        user=_user(own.user or User(), arguments),
        capabilities=_capabilities(own.capabilities, arguments.values("cap")),
        no_new_privileges=arguments.on("no-new-privs") or own.no_new_privileges,
        apparmor_profile=arguments.value("apparmor") or own.apparmor_profile,
        selinux_label=arguments.value("process-label") or own.selinux_label,
    )


def read_process(path: str) -> Process:
    """The process that a JSON file describes.

    Raises:
        SampanError: it cannot be read, or is not such a document.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except ValueError as error:
        raise Invalid(f"the path {path[:60]!r} has a NUL byte in it") from error
    except OSError as error:
        raise from_os_error(error, f"read the process from {path}") from error
    if len(data) > MAX_DOCUMENT:
        raise Exhausted(f"the process in {path} has more than {MAX_DOCUMENT} bytes")
    return Process.from_json(strictjson.loads(data, what=f"the process in {path}"), "process")


def _user(own: User, arguments: Arguments) -> User:
    user = own.replace(additional_gids=[*own.additional_gids, *_groups(arguments)])
    if arguments.value("user"):
        uid, colon, gid = arguments.value("user").partition(":")
        user = user.replace(uid=_id(uid, "user"), gid=_id(gid, "user") if colon else own.gid)
    return user


def _groups(arguments: Arguments) -> list[int]:
    return [
        _id(word, "additional-gids")
        for text in arguments.values("additional-gids")
        for word in text.split(",")
    ]


def _id(text: str, flag: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= MAX_ID):
        raise Invalid(f"--{flag}: {text[:40]!r} is not the number of a user or group")
    return int(text)


def _capabilities(own: Capabilities | None, added: list[str]) -> Capabilities | None:
    if not added:
        return own
    own = own or Capabilities()
    return own.replace(
        bounding=[*own.bounding, *added],
        effective=[*own.effective, *added],
        permitted=[*own.permitted, *added],
    )


COMMAND = Command(
    "exec",
    "ID MODULE [ARG...]",
    COMMANDS["exec"],
    run,
    [
        setting("console-socket", "PATH", "Socket that gets the descriptor of the terminal's master"),
        setting("cwd", "DIR", "The working directory inside the container"),
        collected("env", "NAME=VALUE", "Set an environment variable beside the container's own", "e"),
        switch("tty", "Give it a terminal", "t"),
        setting("user", "UID[:GID]", "Run it as this user", "u"),
        collected("additional-gids", "GID", "One more group", "g"),
        setting(
            "process", "FILE", "JSON file that describes the process; flags change nothing of it then", "p"
        ),
        switch("detach", "Leave it running and return", "d"),
        setting("pid-file", "FILE", "File to write the process id to"),
        setting("process-label", "LABEL", "SELinux label of the process"),
        setting("apparmor", "PROFILE", "AppArmor profile of the process"),
        switch("no-new-privs", "Never more privileges than at the start"),
        collected("cap", "NAME", "One more capability", "c"),
        setting("preserve-fds", "N", "Descriptors from 3 up that it keeps open", default="0"),
        Option("cgroup", value="PATH", refusal="a Wasm container has no groups inside its own"),
        switch("ignore-paused", "Start it in a paused container; it waits there"),
    ],
    ["sampan-oci exec web /tool.wasm status", "sampan-oci exec -e LEVEL=2 --cwd /data web tool.wasm"],
    least=1,
    interspersed=False,
    program="sampan-oci",
)
