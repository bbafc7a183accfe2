"""The `sampan` command: global flags, the way to the command's own module, and the one place where errors end.

Every failure is one line on standard error, `sampan: SENTENCE (KIND)`, and an exit code with Docker's meaning.
Tracebacks are for `--debug` and for a file under the run root.
"""

from __future__ import annotations

import os
import sys

from sampan.core.commandline import HELP, Arguments, UsageError, parse, setting, switch
from sampan.core.errors import SampanError, printable
from sampan.core.roots import default_roots
from sampan.doors.cli import listing
from sampan.doors.cli.context import LEVELS, Context, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

GLOBAL_OPTIONS = [
    switch("debug", "Show debug messages, and a traceback for a fault of Sampan's", "D"),
    setting(
        "log-level",
        "LEVEL",
        "Least important messages to show",
        "l",
        default="info",
        complete="|".join(LEVELS),
    ),
    setting("root", "DIR", "Where everything that lasts is kept", own=True, complete="file"),
    setting("run-root", "DIR", "Where sockets and the like are kept", own=True, complete="file"),
    switch("version", "Print the version and exit", "v"),
    HELP.replace(short="h"),
]
STARTS_A_WORKLOAD = frozenset({"run", "create", "exec", "start"})
USAGE, FAILURE = 125, 1
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(argv: list[str]) -> int:
    """Runs one command line; the exit code. Never raises."""
    _open_standard_streams()
    env = dict(os.environ)
    context = Context(default_roots(os.geteuid(), env), env)
    name = ""
    try:
        _check_text(argv)
        arguments = parse(argv, GLOBAL_OPTIONS, interspersed=False)
        context = _context(arguments, env)
        words = arguments.operands
        if arguments.on("version"):
            from sampan import __version__

            print(f"sampan version {__version__}")
            code = 0
        elif arguments.on("help") or not words:
            code = _help(words)
        elif words[0] == "help":
            code = _help(words[1:])
        elif words[0] == "__complete":
            from sampan.doors.cli.completion import answer

            code = answer(context, words[1:])
        else:
            name, rest = listing.resolve(words)
            code = _run(context, name, rest)
        sys.stdout.flush()
        return code
    except BaseException as error:  # the outermost edge: whatever it is, a person gets one sentence
        return _report(error, name, context)


def _check_text(words: list[str]) -> None:
    """Refuses what is not UTF-8 before anything is written: no document of ours could hold it."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the argument {word[:80]!r} is not UTF-8") from None


def _run(context: Context, name: str, words: list[str]) -> int:
    if name in listing.MANAGEMENT:
        return _help([name])
    command = listing.load(name)
    arguments = command.parse(words)
    if arguments.on("help"):
        from sampan.doors.cli import help as texts

        print(texts.of_command(command))
        return 0
    for note in arguments.notes():
        context.note(note)
    return command.run(context, arguments)


def _help(words: list[str]) -> int:
    from sampan.doors.cli import help as texts

    if not words:
        print(texts.of_everything(GLOBAL_OPTIONS))
        return 0
    name, _ = listing.resolve(words)
    print(texts.of_group(name) if name in listing.MANAGEMENT else texts.of_command(listing.load(name)))
    return 0


def _context(arguments: Arguments, env: Mapping[str, str]) -> Context:
    level = "debug" if arguments.on("debug") else arguments.value("log-level")
    if level not in LEVELS:
        raise UsageError(f"--log-level {level[:40]!r} is not one of {', '.join(LEVELS)}")
    roots = default_roots(os.geteuid(), env)
    data, run = arguments.value("root") or roots.data, arguments.value("run-root") or roots.run
    return Context(roots.replace(data=os.path.abspath(data), run=os.path.abspath(run)), env, level)


def _open_standard_streams() -> None:
    """A descriptor of 0 to 2 that is closed would be given to the next file that is opened, and then to a guest."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _report(error: BaseException, name: str, context: Context) -> int:
    """Tells a person what went wrong; the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return BROKEN_PIPE
    if not isinstance(error, SampanError):
        error = _explained(error, context)
    if context.debug:
        import traceback

        traceback.print_exception(error)
    complain(error)
    if isinstance(error, UsageError):
        _point_to_help(error.command)
        return USAGE
    return error.exit_code if name in STARTS_A_WORKLOAD else FAILURE


def _point_to_help(command: str) -> None:
    try:
        print(f"See 'sampan {command} --help'.".replace("  ", " "), file=sys.stderr, flush=True)
    except OSError:  # nobody is there to be told
        return


def _explained(error: BaseException, context: Context) -> SampanError:
    """An error of the machine in its own words; a fault of ours with the name of the file that has the traceback."""
    from sampan.core.errors import Internal, from_os_error

    if isinstance(error, OSError):
        _drop_output()
        return from_os_error(error, "go on")
    number = os.urandom(4).hex()
    what = printable(f"{type(error).__name__}: {error}")[:300]
    path = _keep_traceback(error, f"{context.roots.run}/faults", number)
    return Internal(f"fault {number}: {what}", fix=f"please report it with {path}" if path else "")


def _keep_traceback(error: BaseException, folder: str, number: str) -> str:
    """The file that has the traceback, or "" where it cannot be written."""
    import traceback

    from sampan.linux import durable

    path = f"{folder}/{number}.txt"
    try:
        durable.make_dir(folder)
        durable.write_file(path, "".join(traceback.format_exception(error)).encode(errors="replace"))
    except SampanError:
        return ""
    return path


def _drop_output() -> None:
    """What is still in the buffer of standard output cannot be written; it must not fail again at the end."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no descriptor is left for it
        return
    os.dup2(null, 1)
    os.close(null)
