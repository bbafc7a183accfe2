"""`sampan-oci`: the global options, the way to a command's module, and the one place where errors end.

As runc does it: an error is one line on standard error and one in the log file, and exit code 1.
"""

from __future__ import annotations

import os
import sys

from sampan.core.commandline import HELP, UsageError, parse, setting, switch
from sampan.core.errors import (
    Internal,
    Invalid,
    NotFound,
    SampanError,
    Unimplemented,
    from_os_error,
    printable,
)
from sampan.doors.oci import listing
from sampan.doors.oci.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments, Command

GLOBAL_OPTIONS = [
    switch("debug", "Write debug messages to the log"),
    setting("log", "FILE", "File that errors are logged to"),
    setting("log-format", "text|json", "Format of the log", default="text"),
    setting("root", "DIR", "Where the state of containers is kept"),
    setting("criu", "PATH", "Not used: there are no checkpoints"),
    switch("systemd-cgroup", "Let systemd make the cgroups"),
    setting(
        "rootless", "true|false|auto", "Whether missing permissions on cgroups are accepted", default="auto"
    ),
    switch("version", "Print the version and exit", "v"),
    HELP.replace(short="h"),
]
NOT_RUN, NOT_FOUND = 126, 127
EXEC_FAILED = 255  # so that a caller can tell it from the workload's own code


def main(words: list[str]) -> int:
    """Runs one command line; the exit code. Never raises."""
    context = Context(words, dict(os.environ))
    name = ""
    try:
        arguments = parse(words, GLOBAL_OPTIONS, interspersed=False, one_dash=True)
        _apply(context, arguments)
        if arguments.on("version"):
            from sampan.doors.oci.features import version_text

            print(version_text())
            return 0
        if arguments.on("help") or not arguments.operands or arguments.operands[0] in ("help", "h"):
            from sampan.doors.oci.help import overview

            print(overview(GLOBAL_OPTIONS))
            return 0
        name, *rest = arguments.operands
        command = listing.load(name)
        given = _parse(context, command, rest)
        if given.on("help"):
            from sampan.doors.oci.help import of_command

            print(of_command(command))
            return 0
        code = command.run(context, given)
        sys.stdout.flush()
        return code
    except BaseException as error:  # the outermost edge: whatever it is, the caller gets one sentence
        return _report(error, name, context)


def _parse(context: Context, command: Command, words: list[str]) -> Arguments:
    """What the words say to the command; flags that only the runtime for Linux containers has are for it to judge."""
    try:
        return command.parse(words, one_dash=True)
    except SampanError:
        from sampan.doors.oci.target import hand_over_foreign

        hand_over_foreign(context, words)
        raise


def _apply(context: Context, arguments: Arguments) -> None:
    log_format = arguments.value("log-format")
    if log_format not in ("text", "json"):
        raise UsageError(f"the log format {log_format[:40]!r} is neither text nor json")
    rootless = arguments.value("rootless")
    if rootless not in ("true", "false", "auto"):
        raise UsageError(f"--rootless {rootless[:40]!r} is not true, false or auto")
    context.debug = arguments.on("debug")
    context.log = arguments.value("log")
    context.json = log_format == "json"
    if arguments.given("root"):
        context.root = os.path.abspath(arguments.value("root"))
    else:  # the runtime for Linux containers would take its own
        context.words = ["--root", context.root, *context.words]
    context.systemd = arguments.on("systemd-cgroup")
    context.rootless = rootless
    context.globals = context.words[: len(context.words) - len(arguments.operands)]


def _report(error: BaseException, name: str, context: Context) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    if isinstance(error, OSError):
        error = from_os_error(error, "go on")
    if not isinstance(error, SampanError):
        if context.debug:
            import traceback

            context.record("debug", "".join(traceback.format_exception(error)))
        error = Internal(f"a fault of sampan-oci: {type(error).__name__}: {error}")
    text = _as_callers_read_it(error)
    context.record("error", text)
    try:
        print(
            f"sampan-oci {printable(name)}: {text}" if name else f"sampan-oci: {text}",
            file=sys.stderr,
            flush=True,
        )
    except OSError:  # nobody is there to be told
        pass
    return EXEC_FAILED if name == "exec" else 1


def _as_callers_read_it(error: SampanError) -> str:
    """The error's line, with the words by which Docker, podman and containerd tell what kind of failure it is."""
    text = str(error)
    if isinstance(error, NotFound) and error.exit_code == NOT_FOUND:
        return f"{text}: executable file not found in $PATH: no such file or directory"
    if isinstance(error, (Invalid, Unimplemented)) and error.exit_code == NOT_RUN:
        return f"{text}: exec format error"
    return text
