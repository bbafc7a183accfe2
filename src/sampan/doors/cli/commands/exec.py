"""`sampan exec`: another module of a running container's root filesystem, in the same world."""

from __future__ import annotations

import os

from sampan.container import inside, stdio
from sampan.container.environment import merge
from sampan.container.events import publish_container
from sampan.container.store import Containers
from sampan.core.commandline import Command, Option, collected, setting, switch
from sampan.core.errors import Invalid, Precondition, Unimplemented
from sampan.core.spec.runtime import Capabilities, Process
from sampan.doors.cli import listing, session
from sampan.doors.cli.runenv import read_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.records import Container
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.core.spec.runtime import User
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    detached = args.on("detach")
    if args.on("tty") and not detached:
        _check_terminal(interactive=args.on("interactive"))
    entry = Containers(context.roots).find(args.operands[0])
    process = _process(context, args, entry)
    session.flush()
    if entry.container.linux_runtime:
        return _run_in_linux(context, args, entry, process)
    if detached:
        inside.execute(entry, context.roots, process, keep_stdin=False, mode=stdio.NOWHERE)
        publish_container(context.roots, entry.container, "exec_start")
        return 0
    signals = session.catch_signals()
    pid = inside.execute(entry, context.roots, process, keep_stdin=args.on("interactive"))
    publish_container(context.roots, entry.container, "exec_start")
    session.wait_for_child(pid, signals, lambda number: os.kill(pid, number))
    code = inside.reap_execution(pid).code
    publish_container(context.roots, entry.container, "exec_die", exitCode=str(code))
    return code


def _run_in_linux(context: Context, args: Arguments, entry: Entry, process: Process) -> int:
    """Another program of a Linux container; what stops it, its runtime has said on our standard error."""
    from sampan.container.linuxruntime import LinuxRuntime

    detached = args.on("detach")
    granted = process.capabilities.bounding if process.capabilities is not None else []
    own = granted if process.user is None or process.user.uid == 0 else []
    process = process.replace(
        terminal=args.on("tty") and not detached, capabilities=Capabilities(granted, own, [], own)
    )
    inside.check_running(entry)
    runtime = LinuxRuntime(entry, context.roots)
    signals = session.catch_signals()
    pid = runtime.execute(process, detached=detached, keep_stdin=args.on("interactive"))
    publish_container(context.roots, entry.container, "exec_start")
    session.wait_for_child(pid, signals, lambda number: os.kill(pid, number))
    code = inside.reap_execution(pid).code
    failure = runtime.why_not() if code else None
    if detached and failure is not None:
        raise failure
    if not detached:
        publish_container(context.roots, entry.container, "exec_die", exitCode=str(code))
    return failure.exit_code if failure is not None else code


def _check_terminal(*, interactive: bool) -> None:
    """The workload has this command's own terminal, not one made for it: there must be one."""
    if not (os.isatty(0) if interactive else os.isatty(0) or os.isatty(1)):
        raise Precondition("-t needs a terminal, and this command has none", fix="leave -t out")


def _process(context: Context, args: Arguments, entry: Entry) -> Process:
    """The container's own process with what the command line changes."""
    container = entry.container
    if container.module:
        raise Precondition(
            f"container {container.name} runs a plain file, so it has no root filesystem with other modules in it",
            fix="run it from an image to have exec",
        )
    own = entry.spec.process or Process()
    cwd = args.value("workdir") or own.cwd
    if not cwd.startswith("/"):
        raise Invalid(f"the working directory {cwd[:80]!r} must start with '/'")
    given = read_environment(args.values("env-file"), args.values("env"), context.env)
    terminal = ["TERM=xterm"] if args.on("tty") else []
    user = _user(args.value("user"), container.lower) if args.given("user") else own.user
    return own.replace(
        args=args.operands[1:],
        cwd=cwd,
        env=merge(terminal, own.env, given),
        terminal=False,
        user=user,
        capabilities=_capabilities(container, own, user),
    )


def _capabilities(container: Container, own: Process, user: User | None) -> Capabilities | None:
    return own.capabilities if container.linux_runtime or user is None or user.uid == 0 else None


def _user(text: str, rootfs: str) -> User:
    from sampan.container.users import find_user

    user = find_user(text, rootfs)
    if os.geteuid() != 0 and (user.uid, user.gid) != (0, 0):
        raise Unimplemented(
            f"-u {text[:60]} cannot be had: a plain user's process cannot become another user's",
            fix="leave -u out, or use sampan as root",
        )
    return user


COMMAND = Command(
    "exec",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    listing.SUMMARIES["exec"],
    run,
    [
        switch("detach", "Run it in the background; its output goes nowhere", "d"),
        Option("detach-keys", "Accepted", value="KEYS", no_effect="the workload has the terminal itself"),
        collected("env", "KEY[=VALUE]", "Set an environment variable beside the container's own", "e"),
        collected("env-file", "FILE", "Read environment variables from a file", complete="file"),
        switch("interactive", "Keep standard input open", "i"),
        Option("privileged", refusal="a Wasm workload makes no system calls that it would allow"),
        switch("tty", "Give it this command's terminal", "t"),
        setting("user", "USER[:GROUP]", "Run its process as this user", "u"),
        setting("workdir", "PATH", "The working directory inside the container", "w"),
    ],
    operands="container",
    least=2,
    interspersed=False,
    examples=["sampan exec web /tool.wasm status", "echo hello | sampan exec -i -e LEVEL=2 web tool.wasm"],
    notes="COMMAND names a file of the container's root filesystem, like /tool.wasm, and maybe an export of it:"
    " /tool.wasm#greet.",
)
