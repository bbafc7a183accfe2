"""`sampan run`: a new container, in the foreground or in the background."""

from __future__ import annotations

from sampan.container import ending, reaper, starting, stdio
from sampan.core.commandline import Command
from sampan.core.errors import Invalid, NotFound, SampanError
from sampan.doors.cli import listing, session
from sampan.doors.cli.creation import create
from sampan.doors.cli.runflags import RUN_OPTIONS
from sampan.doors.cli.runvalues import one_of, parse_detach_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    wishes = _wishes(args)
    if args.on("detach") and args.given("attach"):
        raise Invalid("--detach and --attach cannot be together")
    entry = create(context, args)
    try:
        if args.on("detach"):
            starting.start(entry, context.roots)
            _mention_missing(context, entry)
            print(entry.container.id)
            return 0
        return _in_foreground(context, entry, wishes)
    except SampanError:
        if args.on("rm"):
            ending.discard(entry, context.roots)
        raise


def _wishes(args: Arguments) -> session.Wishes:
    streams = {
        one_of("attach", text.lower(), ("stdin", "stdout", "stderr")) for text in args.values("attach")
    }
    wishes = session.Wishes(
        stdin=args.on("interactive"),
        detach_keys=list(parse_detach_keys(args.value("detach-keys"))),
        sig_proxy=args.on("sig-proxy"),
    )
    if streams:
        wishes.stdin = wishes.stdin and "stdin" in streams
        wishes.stdout, wishes.stderr = "stdout" in streams, "stderr" in streams
    return wishes


def _in_foreground(context: Context, entry: Entry, wishes: session.Wishes) -> int:
    """A container that goes when it ends writes straight to our own descriptors; another one keeps a log.

    A Linux runtime gives those descriptors to the container's user, so it never gets them.
    """
    container, roots = entry.container, context.roots
    process = entry.spec.process
    terminal = process is not None and process.terminal
    session.flush()
    direct = not terminal and wishes.stdout and wishes.stderr
    if container.auto_remove and direct and not container.linux_runtime:
        signals = session.catch_signals()
        pid = starting.start_here(entry, roots, stdio.INHERIT)
        _mention_missing(context, entry)
        session.wait_for_child(pid, signals, lambda number: session.pass_on(entry, roots, number))
        try:
            code = reaper.reap(entry, roots, pid).code
        except NotFound as error:  # somebody else removed it
            return error.exit_code
        try:
            ending.discard(entry, roots)
        except NotFound:  # as we would have done
            pass
        return code
    starting.start(entry, roots, stdio.ATTACHED)
    _mention_missing(context, entry)
    ended = session.Session(entry, roots, wishes).run()
    if container.auto_remove and ended is not None:
        ending.wait_removed(entry)  # its name is free when we return
    return 0 if ended is None else ended


def _mention_missing(context: Context, entry: Entry) -> None:
    """One line on the walls that a plain user cannot have."""
    running = entry.running
    if running is not None and running.missing:
        context.warn(f"this container has {', '.join(running.missing)}; --strict makes that an error")


COMMAND = Command(
    "run",
    "[OPTIONS] IMAGE|FILE [COMMAND] [ARG...]",
    listing.SUMMARIES["run"],
    run,
    RUN_OPTIONS,
    operands="image",
    least=1,
    interspersed=False,
    examples=[
        "sampan run --rm hello.wasm one two",
        "sampan run -d --name web -p 9090:8080 http-server",
        "sampan run --rm -v ./data:/data:ro --env KEY=value tool /tool.wasm --verbose",
    ],
)
